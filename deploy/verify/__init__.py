"""Checks of what ops look at, on real tools: `make ops-check` runs `ops_check.sh`, the list of its steps."""

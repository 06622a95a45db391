"""Prints a dashboard's expressions as Prometheus recording rules, so that promtool can parse them.

python deploy/dashboard_rules.py deploy/grafana/dashboards/*.json > rules.yml && promtool check rules rules.yml
"""

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# What Grafana fills in before it asks Prometheus. $1 of label_replace is Prometheus' own.
VARIABLES = {"$__rate_interval": "1m", "$__range": "30m", "$baseline": "1w", "$job": ".+", "$instance": ".+"}


def expressions(node: Any, place: str) -> Iterator[tuple[str, str]]:
    """Every `expr` in a dashboard, wherever it stands, with a name for its place that a rule can have."""
    if isinstance(node, dict):
        if "gridPos" in node:
            place = f"{place}:panel_{node['id']}"
        if "expr" in node:
            # An annotation has a name where a panel's query has a letter.
            yield f"{place}:{node.get('refId') or re.sub(r'[^a-zA-Z]+', '_', node['name'])}", node["expr"]
        node = list(node.values())
    if isinstance(node, list):
        for value in node:
            yield from expressions(value, place)


def filled(expression: str) -> str:
    """The expression as Prometheus gets it."""
    for name, value in VARIABLES.items():
        expression = expression.replace(name, value)
    return expression


def main(dashboards: list[str]) -> None:
    """Write the rules of these files to stdout. JSON is YAML."""
    rules = [
        {"record": place, "expr": filled(expression)}
        for path in map(Path, dashboards)
        for place, expression in expressions(json.loads(path.read_text(encoding="utf-8")), path.stem.replace("-", "_"))
    ]
    json.dump({"groups": [{"name": "dashboards", "rules": rules}]}, sys.stdout, indent=1)


if __name__ == "__main__":
    main(sys.argv[1:])

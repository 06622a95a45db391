#!/usr/bin/env bash
# Checks what this folder holds with the tools that will read it: compose, hadolint, promtool, amtool, Alertmanager.
#
#     deploy/lint.sh               every check; a tool that cannot be had is a failure
#     deploy/lint.sh --available   the checks whose tools can be had, and in the end which did not run
#
# tools.sh fetches the tools, once.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source deploy/tools.sh

available=false
case "${1-}" in
  "") ;;
  --available) available=true ;;
  *)
    echo "usage: deploy/lint.sh [--available]" >&2
    exit 2
    ;;
esac

failed=()
skipped=()
missing=" " # tools that could not be had, so that each is asked for once

# Each of these is told where its tool is.

dockerfile() {
  "$1" --no-color deploy/Dockerfile
}

containers() {
  "$1" --file docker-compose.yml --profile load config --quiet
}

scraping() {
  "$1" check config --lint=all --lint-fatal deploy/prometheus/prometheus.yml
}

alerts() {
  "$1" test rules deploy/prometheus/*_test.yml
}

dashboards() {
  "$PYTHON" -m deploy.dashboard_rules deploy/grafana/dashboards/*.json | "$1" check rules --lint=all --lint-fatal
}

receivers() {
  "$1" check-config deploy/alertmanager/alertmanager.yml
}

notifications() {
  local amtool
  amtool=$(tool amtool) && "$PYTHON" -m deploy.check_alertmanager "$amtool" "$1"
}

# Every expression of a runbook, one a line, as a rule that promtool can parse.
questions() {
  awk '
    BEGIN { print "groups: [{name: runbooks, rules: [" }
    /^ *```/ { on = $1 == "```promql"; next }
    on { sub(/^ +/, ""); printf "{record: \"runbook:%d\", expr: '\''%s'\''},\n", NR, $0 }
    END { print "]}]" }
  ' deploy/runbooks/*.md | "$1" check rules --lint=all --lint-fatal
}

# check TOOL FUNCTION WHAT: run FUNCTION, show its output only where it fails.
check() {
  local name=$1 function=$2 what=$3 path output
  if [[ $missing == *" $name "* ]] || ! path=$(tool "$name"); then
    missing+="$name "
    if $available; then
      skipped+=("$what")
      echo "SKIP  $what: $name cannot be had here"
    else
      failed+=("$what")
      echo "FAIL  $what: $name cannot be had here (deploy/lint.sh --available goes on without)"
    fi
  elif output=$("$function" "$path" 2>&1); then
    echo "ok    $what"
  else
    failed+=("$what")
    printf 'FAIL  %s\n%s\n' "$what" "$output"
  fi
}

check hadolint dockerfile "deploy/Dockerfile (hadolint $HADOLINT)"
check compose containers "docker-compose.yml (compose $COMPOSE)"
check promtool scraping "deploy/prometheus: configuration and rules (promtool $PROMETHEUS)"
check promtool alerts "deploy/prometheus: alerts fire when they should (promtool $PROMETHEUS)"
check promtool questions "deploy/runbooks: every expression parses (promtool $PROMETHEUS)"
check amtool receivers "deploy/alertmanager: configuration (amtool $ALERTMANAGER)"
check alertmanager notifications "deploy/alertmanager: who hears of what (Alertmanager $ALERTMANAGER)"
check promtool dashboards "deploy/grafana: every expression parses (promtool $PROMETHEUS)"

if ((${#skipped[@]})); then
  printf '\n*** NOT CHECKED, for want of a tool ***\n'
  printf '  %s\n' "${skipped[@]}"
fi
((${#failed[@]} == 0))

#!/usr/bin/env bash
# Checks what ops look at with the real tools, one step after the other: `make ops-check`.
#
#     deploy/verify/ops_check.sh                 every step
#     deploy/verify/ops_check.sh queries …       these
#
# A step is a function below, named in STEPS. It prints what it finds, a line each, and fails where something is wrong; the
# others run all the same. What is fetched or built for it lies in .cache, what it writes in build/ops.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
source deploy/tools.sh

readonly STEPS=(queries pictures chart)

# A real Prometheus scrapes a real worker under load for some minutes; every panel's query and every rule is run against it.
# Then something is broken: the overview has to say so.
queries() {
  local prometheus
  prometheus=$(tool prometheus)
  "$PYTHON" -m deploy.verify.live --prometheus "$prometheus" --seconds "${SECONDS_WATCHED:-240}"
}

# Every dashboard is drawn from what the step before has asked.
pictures() {
  chromium_is_there
  "$PYTHON" -m deploy.verify.pictures
}

# The chart is rendered, and held against the schemas of those who would read it.
chart() {
  local helm
  helm=$(tool helm)
  "$PYTHON" -m deploy.verify.helm_check --helm "$helm"
}

chromium_is_there() {
  command -v chromium >/dev/null && return
  if command -v apt-get >/dev/null && ((EUID == 0)); then
    echo "…        fetching Chromium (once)"
    { apt-get -qq update && apt-get -qq install --yes --no-install-recommends chromium fonts-inter; } >/dev/null
  fi
}

steps=("$@")
((${#steps[@]})) || steps=("${STEPS[@]}")
results=()
failed=0
for step in "${steps[@]}"; do
  if [[ " ${STEPS[*]} " != *" $step "* ]]; then
    echo "usage: deploy/verify/ops_check.sh [${STEPS[*]}]" >&2
    exit 2
  fi
  printf '\n%s\n' "── $step"
  # In a shell of its own, where the first command that fails ends the step. As the condition of an `if` it would go on.
  set +e
  (set -e; "$step")
  code=$?
  set -e
  if ((code == 0)); then
    results+=("ok    $step")
  else
    results+=("FAIL  $step")
    failed=1
  fi
done
printf '\n'
printf '%s\n' "${results[@]}"
exit "$failed"

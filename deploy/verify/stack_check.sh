#!/usr/bin/env bash
# Builds the image and brings up docker-compose.yml for real, where no Docker engine runs: `make stack-check` (Debian, root).
#
#     deploy/verify/stack_check.sh             every check, a line each
#     deploy/verify/stack_check.sh COMMAND…    this instead, where `docker compose` works on it (bash: to look around)
#
# Compose talks to podman, in namespaces of their own: nothing outside can be reached, nothing is left when they end. Docker Hub
# cannot be reached either, so the images that docker-compose.yml names are made here, under the same names:
#
#     python                     debootstrap's Debian of the same name, with Debian's Python in /usr/local
#     apache/kafka               the same release from the Maven jars, on that (stack/Kafka.Dockerfile)
#     prom/prometheus, prom/alertmanager    the same releases, built from source (deploy/tools.sh)
#     grafana/grafana            nothing: it is left out (stack/compose.yml)
#
# What is built once lies in .cache; the rest in a folder under build/ that goes in the end.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
source deploy/tools.sh

readonly NEEDED=(aardvark-dns buildah catatonit conmon debootstrap iproute2 iptables netavark podman runc)
readonly SELF=$PWD/deploy/verify/stack_check.sh
readonly STACK=deploy/verify/stack
BASE=$(sed -n 's/^ARG BASE=//p' deploy/Dockerfile)
readonly BASE
readonly BASE_FILE=.cache/stack/base-${BASE##*-}.tar

main() {
  if ((EUID != 0)) || [[ $(uname) != Linux ]]; then
    echo "deploy/verify/stack_check.sh: it needs Linux, and root for its namespaces" >&2
    exit 2
  fi
  packages
  local name
  for name in alertmanager amtool compose prometheus promtool; do
    tool "$name" >/dev/null
  done
  base
  mkdir -p build
  folder=$(mktemp -d "$PWD/build/stack.XXXXXX")
  trap leave EXIT
  # The first with the network, which the build needs; the second without. Whatever they start ends with them.
  unshare --mount --pid --fork --mount-proc --kill-child "$BASH" "$SELF" --in "$folder" images
  unshare --net --mount --pid --fork --mount-proc --kill-child "$BASH" "$SELF" --in "$folder" stack "$@"
}

# The namespaces have gone, with what ran in them. This is outside of them.
leave() {
  rm -rf "$folder"
  find /sys/fs/cgroup -depth -type d -path '*/libpod_parent*' -exec rmdir {} + 2>/dev/null || true
}

packages() {
  if ! command -v dpkg >/dev/null; then
    echo "deploy/verify/stack_check.sh: it takes its tools from Debian's packages, and this is no Debian" >&2
    exit 2
  fi
  dpkg --status "${NEEDED[@]}" >/dev/null 2>&1 && return
  say "fetching ${NEEDED[*]} (once)"
  { apt-get -qq update && apt-get -qq install --yes --no-install-recommends "${NEEDED[@]}"; } >/dev/null
}

# The base image's file system, with `python` and `pip` where the real one has them.
base() {
  [[ -e $BASE_FILE ]] && return
  say "making $BASE (once)"
  mkdir -p "${BASE_FILE%/*}"
  local work
  work=$(mktemp -d "${BASE_FILE%/*}/base.XXXXXX")
  debootstrap --variant=minbase --include=ca-certificates,python3,python3-venv "${BASE##*-}" "$work/root" >"$work/log" 2>&1 ||
    { tail -n 20 "$work/log" >&2 && return 1; }
  chroot "$work/root" python3 -m venv /usr/local
  rm -rf "$work/root"/{root/.cache,usr/share/{doc,locale,man/man1},var/cache/apt,var/lib/apt/lists}/*
  tar --directory "$work/root" --create --file "$work/base.tar" .
  mv "$work/base.tar" "$BASE_FILE"
  rm -rf "$work"
}

# Every image that docker-compose.yml names, but Grafana's.
images() {
  local file settings=()
  # Who reaches package registries by settings of the machine's own has them in the build, too.
  for file in /etc/pip.conf /etc/ssl/certs/ca-certificates.crt; do
    [[ -e $file ]] && settings+=(--volume "$file:$file:ro")
  done
  from_dockerfile() {
    buildah build --isolation chroot --network host --format docker --layers=false "${settings[@]}" "$@" >"$folder/log" 2>&1 ||
      { tail -n 30 "$folder/log" >&2 && return 1; }
  }

  podman import --quiet "$BASE_FILE" "$BASE" >/dev/null
  say "building comment-screener:local from deploy/Dockerfile"
  from_dockerfile --file deploy/Dockerfile --build-arg VERSION=checked --build-arg REVISION="$(git rev-parse HEAD)" \
    --tag comment-screener:local .
  say "building what stands in for Kafka, Prometheus and Alertmanager"
  from_dockerfile --file "$STACK/Kafka.Dockerfile" --build-arg BASE="$BASE" --tag "$(named apache/kafka)" \
    --build-context jars="$("$PYTHON" -c 'from worker.demo.broker import fetch_kafka; print(fetch_kafka())')" "$STACK"
  only prometheus promtool
  only alertmanager amtool
}

# only SERVER TOOL: an image with these two programs and a folder that the server may write.
only() {
  local root=$folder/$1
  mkdir -p "$root"/{bin,etc,tmp,"$1"}
  install "$(tool "$1")" "$root/bin/$1"
  install "$(tool "$2")" "$root/bin/$2"
  echo "nobody:x:65534:65534::/:" >"$root/etc/passwd"
  chown 65534:65534 "$root/$1"
  chmod 1777 "$root/tmp"
  tar --directory "$root" --create . | podman import --quiet --change USER=nobody --change WORKDIR="/$1" \
    --change ENTRYPOINT="[\"/bin/$1\"]" - "$(named "prom/$1")" >/dev/null
}

# An image's name with the version that docker-compose.yml says.
named() {
  sed -n "s|^ *image: \($1:.*\)|\1|p" docker-compose.yml
}

# Everything is there but the containers: run the checks, or what was asked for.
stack() {
  ip link set lo up
  podman system service --time=0 "unix://$folder/podman.sock" >"$folder/service.log" 2>&1 &
  local service=$!
  health &
  local looking=$!
  until [[ -S $folder/podman.sock ]]; do
    kill -0 "$service"
    sleep 0.1
  done
  export DOCKER_HOST=unix://$folder/podman.sock COMPOSE_FILE=docker-compose.yml:$STACK/compose.yml PATH=$folder:$PATH
  docker_compose >"$folder/docker"
  chmod +x "$folder/docker"
  local code=0
  if (($#)); then
    "$@" || code=$?
  else
    "$PYTHON" -m deploy.verify.stack.checks || code=$?
  fi
  kill "$looking" "$service"
  exit "$code"
}

# The command `docker`. This podman gives a container's networks by name and not by id, so each `up` would take every
# container for one on other networks, and make it anew.
docker_compose() {
  cat <<END
#!/usr/bin/env bash
[[ \$1 == compose ]] || exec podman "\$@"
[[ " \$* " == *" up "* && " \$* " != *" --force-recreate "* ]] && keep=--no-recreate
exec "$(tool compose)" "\${@:2}" \${keep-}
END
}

# podman leaves the health checks to systemd, which is not here.
health() {
  local container
  while sleep 3; do
    for container in $(podman ps --quiet --filter status=running); do
      podman healthcheck run "$container" >/dev/null 2>&1 || true
    done
  done
}

# Storage, state and configuration of podman and buildah: all of it in the folder, or gone with the namespace.
in_namespace() {
  folder=$1
  mount -t tmpfs tmpfs /run
  mount -t tmpfs tmpfs /dev/shm
  printf '[storage]\ndriver = "vfs"\ngraphroot = "%s/root"\nrunroot = "/run/containers"\n' "$folder" >"$folder/storage.conf"
  export CONTAINERS_CONF=$PWD/$STACK/containers.conf CONTAINERS_STORAGE_CONF=$folder/storage.conf
  "${@:2}"
}

say() {
  echo "…     $1"
}

if [[ ${1-} == --in ]]; then
  in_namespace "${@:2}"
else
  main "$@"
fi

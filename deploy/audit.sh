#!/usr/bin/env bash
# Looks for known weaknesses of what the lock pins, and for secrets in what git tracks. Nothing passes that was not looked at.
#
#     deploy/audit.sh vulnerabilities
#     deploy/audit.sh secrets
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
readonly BIN=${BIN:-.venv/bin}

vulnerabilities() {
  local service
  # Two places know them; one of them that answers for every package is enough.
  for service in pypi osv; do
    local code=0 said
    said=$("$BIN/pip-audit" --strict --disable-pip --require-hashes --progress-spinner off \
      --vulnerability-service "$service" --requirement requirements.lock 2>&1) || code=$?
    if ((code == 0)) || grep -q '^Found [0-9]* known vulnerabilit' <<<"$said"; then
      printf '%s\n' "$said"
      return "$code"
    fi
    echo "audit: $service does not answer for every package: $(tail -n 1 <<<"$said")" >&2
  done
  echo "audit: NOT DONE: neither the package index nor osv.dev could be asked, so nothing is known" >&2
  return 2
}

secrets() {
  # Lock files are hashes; models are numbers.
  git ls-files -z | grep -zvE '(^|/)requirements[^/]*\.lock$|^worker/models/' |
    xargs -0 "$BIN/detect-secrets-hook" --no-verify --disable-plugin KeywordDetector \
      --disable-plugin HexHighEntropyString --disable-plugin Base64HighEntropyString
  echo "audit: no secrets in what git tracks"
}

case "${1-}" in
  vulnerabilities | secrets) "$1" ;;
  *)
    echo "usage: deploy/audit.sh vulnerabilities|secrets" >&2
    exit 2
    ;;
esac

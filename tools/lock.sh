#!/usr/bin/env bash
# Pins requirements.txt and requirements-dev.txt by version and hash, without any address in them.
set -euo pipefail
cd "$(dirname "$0")/.."
compile() {
  pip-compile --quiet --upgrade --generate-hashes --allow-unsafe --strip-extras --no-header --no-annotate \
    --no-emit-index-url --no-emit-trusted-host --no-emit-find-links --output-file "$@" pyproject.toml
}
compile requirements.txt
compile requirements-dev.txt --extra dev --constraint requirements.txt

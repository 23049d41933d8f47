#!/usr/bin/env bash
# Pins requirements.txt, requirements-dev.txt and those of tools/checkov and tools/image by version and hash, without any address in them.
#
# Extras stay in the names: without them pip 23.2 takes `coverage[toml]`, which pytest-cov asks for, for another
# package than the pinned `coverage`, and refuses all as soon as a newer one is published.
set -euo pipefail
cd "$(dirname "$0")/.."
compile() {
  pip-compile --quiet --upgrade --generate-hashes --allow-unsafe --no-strip-extras --no-header --no-annotate \
    --no-emit-index-url --no-emit-trusted-host --no-emit-find-links --output-file "$@"
}
compile requirements.txt --extra microservice pyproject.toml
compile requirements-dev.txt --extra dev --extra microservice --constraint requirements.txt pyproject.toml
compile tools/checkov/requirements.txt tools/checkov/requirements.in
compile tools/image/requirements.txt tools/image/requirements.in

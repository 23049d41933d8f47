#!/usr/bin/env bash
# Makes what the image holds, by the requirements that are pinned by hash. The Dockerfile runs it, and tests/image does.
#
# usage: build.sh PREFIX SBOM RUNTIME
#   PREFIX   folder of the virtual environment, at the path that it has in the image; it must not exist
#   SBOM     file to write: the parts of that environment, as CycloneDX JSON
#   RUNTIME  path of the Python in the runtime image; its minor version must be that of python3 here
set -euo pipefail
prefix=$1 sbom=$2 runtime=$3
cd "$(dirname "$0")/../.."

python=python$(python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])')
if [ "${runtime##*/}" != "$python" ]; then
  echo "the environment is made by $python, and $runtime could not run it: use images of one minor version" >&2
  exit 1
fi
# The builder's tools stay out of the image, pip among them.
tools=$(mktemp -d)
trap 'rm -rf "$tools"' EXIT
python3 -m venv "$tools"
pip() { "$tools/bin/pip" --disable-pip-version-check --no-cache-dir --quiet "$@"; }
into() { pip --python "$prefix/bin/python" install --no-compile "$@"; }

pip install --require-hashes --requirement tools/image/requirements.txt
python3 -m venv --without-pip "$prefix"
# Wheels only: nothing that is fetched runs while it is installed.
into --require-hashes --only-binary :all: --requirement requirements.txt
pip wheel --no-deps --no-build-isolation --wheel-dir "$tools/dist" .
# By name, so that no path of the builder is recorded.
into --no-deps --no-index --find-links "$tools/dist" vllm-operator
# Layers change the times of files, and nothing can be compiled in a read-only image.
"$prefix/bin/python" -m compileall -q --invalidation-mode unchecked-hash "$prefix/lib"

# The list of parts names the version too, which pyproject.toml leaves to the package.
version=$("$prefix/bin/python" -c 'import vllm_operator; print(vllm_operator.__version__)')
sed "s/^dynamic = .*/version = \"$version\"/" pyproject.toml > "$tools/pyproject.toml"
"$tools/bin/cyclonedx-py" environment --pyproject "$tools/pyproject.toml" --output-reproducible --output-file "$sbom" "$prefix"

# From here on it is the runtime image's: its Python is elsewhere than the builder's.
rm "$prefix"/bin/[Aa]ctivate*
ln -sfn "$runtime" "$prefix/bin/python"
ln -sfn python "$prefix/bin/python3"
ln -sfn python "$prefix/bin/$python"
printf 'home = %s\ninclude-system-site-packages = false\n' "${runtime%/*}" > "$prefix/pyvenv.cfg"

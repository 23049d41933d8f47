"""The command: writes the files; with `--check` it writes nothing, and ends with 1 where one would change."""

import sys
from pathlib import Path

from vllm_operator.generate.files import generated
from vllm_operator.generate.installs import HelmError, installs


def main() -> int:
    """Write the files that Python makes, and from these the ones that Helm renders. Returns the exit code."""
    root = Path(__file__).parents[3]
    stale = _differing(root, generated())
    try:
        stale += _differing(root, installs(root))
    except HelmError as error:
        print(error, file=sys.stderr)
        return 1
    if "--check" in sys.argv and stale:
        print(f"not as generated: {', '.join(stale)}; run `make generate`", file=sys.stderr)
        return 1
    return 0


def _differing(root: Path, files: dict[str, str]) -> list[str]:
    """Names of files that are not as they should be; without `--check` they then are."""
    stale = []
    for name, content in files.items():
        file = root / name
        if not file.exists() or file.read_text() != content:
            stale.append(name)
            if "--check" not in sys.argv:
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(content)
    return stale


if __name__ == "__main__":
    sys.exit(main())

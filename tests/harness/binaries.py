"""Where the programs of the control plane are: built here, or brought by the environment."""

import os
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]


def find_binary(name: str) -> str:
    """Return the path of a program; KUBEBUILDER_ASSETS wins over the repository's own build."""
    folders = [Path(folder) for folder in (os.environ.get("KUBEBUILDER_ASSETS"),) if folder]
    folders.append(REPOSITORY / ".tools" / "bin")
    for folder in folders:
        candidate = folder / name
        if candidate.is_file() and os.access(candidate, os.X_OK):
            return str(candidate)
    places = ", ".join(str(folder) for folder in folders)
    raise FileNotFoundError(f"{name} is not in {places}: run `make tools` to build it")

"""What the tests of a real vLLM share: its environment, a model in a hub cache, and rendered templates."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.image.conftest import image
from tests.vllm.cases import MODEL, Case
from tests.vllm.pod import Pod
from tests.vllm.sandbox import VLLM, Outside

__all__ = ["image"]

ROOT = Path(__file__).parents[2]
HUB = Path(__file__).parent / "programs" / "hub.py"


@pytest.fixture(scope="session")
def python() -> Path:
    """The environment with vLLM; `make test-vllm` installs it."""
    folder = (ROOT / ".tools" / "vllm").resolve()
    assert (folder / ".done").exists(), "run tools/vllm/install.sh"
    assert shutil.which("bwrap"), "bubblewrap is missing: apt-get install bubblewrap"
    return folder


@pytest.fixture(scope="session")
def cache(python: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the hub cache of a tiny model, as a claim holds it."""
    folder = tmp_path_factory.mktemp("cache")
    subprocess.run([python / "bin" / "python", "-P", HUB, folder / "hub", MODEL], check=True)
    return folder


@pytest.fixture(scope="session")
def start(python: Path, cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[Case], Pod]:
    """Make the pod of a case, not yet started, with a copy of the cache as its claim."""

    def make(case: Case) -> Pod:
        folder = tmp_path_factory.mktemp(case.name)
        claim = shutil.copytree(cache, folder / "claim", symlinks=True)
        outside = Outside({case.claim: claim}, case.config_maps, case.secrets)
        return Pod(case.template, outside, VLLM(python), folder / "pod")

    return make

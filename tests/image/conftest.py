"""The environment of the image, made by the Dockerfile's own step, and a stage as bare as its runtime."""

import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.image import dockerfile

PYTHON = f"python{sys.version_info.major}.{sys.version_info.minor}"
RUNTIME = f"/usr/bin/{PYTHON}"
BASE = Path(os.path.realpath(sys.executable))


def build(*arguments: str, context: Path) -> subprocess.CompletedProcess[str]:
    """Run the step of the Dockerfile with the Python of these tests."""
    path = {"PATH": f"{BASE.parent}:{os.environ['PATH']}"}
    command = [str(context / "tools" / "image" / "build.sh"), *arguments]
    return subprocess.run(command, env=os.environ | path, capture_output=True, text=True, check=False)


class Image:
    """What the image holds: `prefix` is its environment, `sbom` the list of parts."""

    def __init__(self, folder: Path):
        """Lay the context, and build."""
        self.prefix, self.sbom, self.context = folder / "venv", folder / "sbom.json", folder / "context"
        for name in dockerfile.from_context():
            source, target = dockerfile.ROOT / name, self.context / name
            target.parent.mkdir(parents=True, exist_ok=True)
            if source.is_dir():
                shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(source, target)
        done = build(str(self.prefix), str(self.sbom), RUNTIME, context=self.context)
        assert done.returncode == 0, done.stderr

    def run(self, *words: str, shown: Path | None = None) -> subprocess.CompletedProcess[str]:
        """Run a command as in the image: no shell, no network, no home, nothing to write to, not root.

        `shown` is a folder that is mounted at `/shown`.
        """
        command = ["bwrap", "--unshare-all", "--die-with-parent", "--uid", "65532", "--gid", "65532"]
        command += ["--cap-drop", "ALL", "--clearenv", *self._root()]
        if shown:
            command += ["--ro-bind", str(shown), "/shown"]
        for name, value in dockerfile.environment().items():
            command += ["--setenv", name, value.replace("/opt/venv", str(self.prefix))]
        command += ["--remount-ro", "/dev", "--remount-ro", "/", "--chdir", "/", "--", *words]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)

    def _root(self) -> Iterator[str]:
        """Python where Debian has it, the libraries that it is linked with, and the environment."""
        multiarch, folder, library = sysconfig.get_config_vars("MULTIARCH", "LIBDIR", "INSTSONAME")
        files = {BASE: RUNTIME, Path(sysconfig.get_path("stdlib")): f"/usr/lib/{PYTHON}"}
        if sysconfig.get_config_var("Py_ENABLE_SHARED"):
            # Where the program looks first: the system may have another one of that name.
            files[Path(folder) / library] = f"{folder}/{library}"
        libraries = f"/lib/{multiarch}"
        files |= {Path(libraries).resolve(): libraries, Path("/lib64").resolve(): "/lib64"}
        for source, target in (files | {self.prefix: str(self.prefix)}).items():
            yield from ("--ro-bind", str(source), target)
        yield from ("--proc", "/proc", "--dev", "/dev")


@pytest.fixture(scope="session")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    assert shutil.which("bwrap"), "bubblewrap is missing: apt-get install bubblewrap"
    return Image(tmp_path_factory.mktemp("image"))

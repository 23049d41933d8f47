"""The environment of the image, made by the Dockerfile's own step, and a stage as bare as its runtime."""

import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

import pytest

from tests.harness.fixtures import api, cluster, namespace
from tests.image import dockerfile

__all__ = ["api", "cluster", "namespace"]

PYTHON = f"python{sys.version_info.major}.{sys.version_info.minor}"
RUNTIME = f"/usr/bin/{PYTHON}"
BASE = Path(os.path.realpath(sys.executable))
BWRAP = shutil.which("bwrap") or "bubblewrap is missing: apt-get install bubblewrap"
Done = subprocess.CompletedProcess[str]


def build(*arguments: str, context: Path) -> Done:
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

    def command(
        self,
        *words: str,
        shown: Mapping[Path, str] = MappingProxyType({}),
        variables: Mapping[str, str] = MappingProxyType({}),
        network: bool = False,
    ) -> list[str]:
        """A command as in the image: no shell, no home, nothing to write to, not root, a uid without a name.

        `shown` are files and folders of ours with the place where they are mounted; `variables` come on top
        of the image's own. With `network`, ours is there.
        """
        command = [BWRAP, "--unshare-all", *(["--share-net"] if network else []), "--die-with-parent"]
        command += ["--uid", "65532", "--gid", "65532", "--cap-drop", "ALL", "--clearenv", *self.root()]
        for source, target in shown.items():
            command += ["--ro-bind", str(source), target]
        for name, value in {**self.environment(), **variables}.items():
            command += ["--setenv", name, value]
        return [*command, "--remount-ro", "/dev", "--remount-ro", "/", "--chdir", "/", "--", *words]

    def run(self, *words: str, shown: Mapping[Path, str] = MappingProxyType({})) -> Done:
        """Run such a command to its end."""
        command = self.command(*words, shown=shown)
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)

    def environment(self) -> Mapping[str, str]:
        """Variables that the image sets."""
        own = dockerfile.environment()
        return {name: value.replace("/opt/venv", str(self.prefix)) for name, value in own.items()}

    def root(self) -> Iterator[str]:
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
    assert BWRAP.startswith("/"), BWRAP
    return Image(tmp_path_factory.mktemp("image"))

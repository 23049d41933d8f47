"""The program as it runs in a pod: as uid 1000, in the image's own Python, against a hub on loopback."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest

from tests.podscripts import hub as hubs
from vllm_operator.api.prefetch import Prefetched, PrefetchFailure, PrefetchStep, read_report, read_step

PODSCRIPTS = Path(__file__).parents[2] / "operator/vllm_operator/podscripts"
USER = 1000
PATIENCE_SECONDS = 120
"""Nothing is awaited longer. What takes long is an error, not a measurement."""


@pytest.fixture(scope="session")
def python() -> tuple[str, dict[str, str]]:
    """An interpreter that uid 1000 may run, and the variables with which it finds huggingface_hub.

    PREFETCH_PACKAGES names a folder of packages with another version of it.
    """
    given = os.environ.get("PREFETCH_PACKAGES")
    packages = {"PYTHONPATH": given or str(Path(huggingface_hub.__file__).parents[1])}
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    tried = []
    for path in (
        sys.executable,
        os.path.realpath(sys.executable),
        f"/usr/bin/{version}",
        shutil.which(version),
    ):
        try:
            subprocess.run(
                [str(path), "-c", "import huggingface_hub"],
                check=True, capture_output=True, env=packages, cwd="/", **identity(USER),
            )  # fmt: skip
        except (OSError, subprocess.CalledProcessError) as error:
            tried.append(f"{path}: {error}")
        else:
            return str(path), packages
    pytest.fail(f"no Python that uid {USER} can run with huggingface_hub: {tried}")


def identity(user: int) -> dict[str, Any]:
    """Arguments of subprocess for another user; without root everything runs as who we are."""
    return {"user": user, "group": user, "extra_groups": []} if os.geteuid() == 0 else {}


@pytest.fixture
def hub() -> Iterator[hubs.Hub]:
    """A hub without models."""
    with hubs.running() as running:
        yield running


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder that uid 1000 can reach and owns; pytest's own cannot be reached."""
    path = Path(tempfile.mkdtemp(prefix="prefetch-"))
    give(path)
    yield path
    shutil.rmtree(path)


def give(path: Path) -> None:
    """Make uid 1000 the owner of a folder and of all in it."""
    path.chmod(0o755)
    if os.geteuid() == 0:
        for each in (path, *path.rglob("*")):
            os.chown(each, USER, USER, follow_symlinks=False)


@pytest.fixture
def volume(place: Path) -> Iterator[Callable[..., Path]]:
    """Mounts a small volume of its own; the tests cannot do without, and fail where they may not."""
    mounted: list[Path] = []

    def mount(megabytes: int) -> Path:
        path = place / f"volume-{len(mounted)}"
        path.mkdir()
        options = f"size={megabytes}m,uid={USER},gid={USER},mode=0755"
        subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", path], check=True)
        mounted.append(path)
        return path

    yield mount
    for path in mounted:
        subprocess.run(["umount", "--lazy", path], check=True)


@pytest.fixture
def read_only() -> Callable[[Path], None]:
    """Makes a mounted volume one that nobody can write to."""

    def remount(path: Path) -> None:
        subprocess.run(["mount", "-o", "remount,ro", path], check=True)

    return remount


@dataclass
class Run:
    """A run of the program: its process, and once it has ended what it has told."""

    process: subprocess.Popen[str]
    report_file: Path
    out: str = ""
    err: str = ""
    code: int | None = None
    seconds: float = 0
    started: float = field(default_factory=time.monotonic)

    def wait(self) -> "Run":
        """Until it ends."""
        self.out, self.err = self.process.communicate(timeout=PATIENCE_SECONDS)
        self.code, self.seconds = self.process.returncode, time.monotonic() - self.started
        return self

    def kill(self, signal: int) -> "Run":
        """End it."""
        self.process.send_signal(signal)
        return self.wait()

    @property
    def report_text(self) -> str:
        """What the kubelet would take for the termination message."""
        return self.report_file.read_text()

    @property
    def report(self) -> dict[str, Any]:
        """The report."""
        return dict(json.loads(self.report_text))

    @property
    def done(self) -> Prefetched:
        """The report of a success, as the operator reads it."""
        read = read_report(self.report_text)
        assert isinstance(read, Prefetched), (self.report_text, self.err)
        assert self.code == 0
        return read

    @property
    def failure(self) -> PrefetchFailure:
        """The report of a failure, as the operator reads it."""
        read = read_report(self.report_text)
        assert isinstance(read, PrefetchFailure), (self.report_text, self.err)
        return read

    @property
    def steps(self) -> list[PrefetchStep]:
        """The progress, as the operator reads it; nothing else is on stdout."""
        steps = [read_step(line) for line in self.out.splitlines()]
        assert None not in steps, self.out
        return [step for step in steps if step]


def mounted(folder: Path) -> None:
    """The programs as the kubelet lays down a ConfigMap: each file a link through a link that it can turn."""
    (folder / "..2026").mkdir(parents=True)
    (folder / "..data").symlink_to("..2026")
    for file in PODSCRIPTS.glob("*.py"):
        shutil.copy(file, folder / "..2026")
        (folder / file.name).symlink_to(f"..data/{file.name}")


@pytest.fixture
def start(python: tuple[str, dict[str, str]], place: Path, hub: hubs.Hub) -> Iterator[Callable[..., Run]]:
    """Starts the program on `home`, which is HF_HOME."""
    executable, packages = python
    mounted(place / "mounted/podscripts")
    (place / "home").mkdir()
    give(place)
    runs: list[Run] = []

    def start(home: Path, model: str, *arguments: str, user: int = USER, **variables: str) -> Run:
        report = place / f"report-{len(runs)}"
        report.touch()  # as the kubelet does
        report.chmod(0o666)
        words = [executable, "-m", "podscripts.prefetch", model, "--report", str(report), "--pause", "0"]
        environment = {
            "HF_HOME": str(home), "HF_ENDPOINT": hub.url, "HOME": str(place / "home"), "PATH": os.defpath,
            "PYTHONDONTWRITEBYTECODE": "1", **packages, **variables,
        }  # fmt: skip
        process = subprocess.Popen(
            [*words, *arguments], cwd=place / "mounted", env=environment, text=True, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, **identity(user),
        )  # fmt: skip
        runs.append(Run(process, report))
        return runs[-1]

    yield start
    for run in runs:
        if run.process.poll() is None:
            run.kill(9)


@pytest.fixture
def prefetch(start: Callable[..., Run]) -> Callable[..., Run]:
    """Runs the program to its end."""
    return lambda *arguments, **more: start(*arguments, **more).wait()


@pytest.fixture
def as_user(python: tuple[str, dict[str, str]], place: Path, hub: hubs.Hub) -> Callable[..., str]:
    """Runs a piece of Python as uid 1000 and gives what it prints: what other programs do to the cache."""
    executable, packages = python

    def run(code: str, **variables: str) -> str:
        environment = {"HOME": str(place / "home"), "HF_ENDPOINT": hub.url, **packages, **variables}
        ended = subprocess.run(
            [executable, "-c", code], env=environment, capture_output=True, text=True, check=False, cwd="/",
            timeout=PATIENCE_SECONDS, **identity(USER),
        )  # fmt: skip
        assert ended.returncode == 0, ended.stderr
        return str(ended.stdout).strip()

    return run

"""A pod with Gaudi cards: a model, a dataset, the tools of an image, and the program that calibrates."""

import hashlib
import json
import os
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.podscripts.conftest import PATIENCE_SECONDS, USER, give, identity, mounted
from vllm_operator.api.calibration import (
    Calibrated,
    CalibrationFailure,
    CalibrationStep,
    read_report,
    read_step,
)

STUB = Path(__file__).with_name("stub.py")
NAME = "Llama-3.1-8B-Instruct"
LOWER = NAME.lower()
DATASET = b"\x80\x04cos\nsystem\n(S'touch loaded'\ntR."
"""A pickle that does something when it is loaded."""


@dataclass
class Ended:
    """A run that has ended, and what it has told."""

    code: int
    out: bytes
    err: str
    report_text: str

    @property
    def done(self) -> Calibrated:
        """The report of a success, as the operator reads it."""
        read = read_report(self.report_text)
        assert isinstance(read, Calibrated), (self.report_text, self.err)
        assert self.code == 0
        return read

    @property
    def failure(self) -> CalibrationFailure:
        """The report of a failure, as the operator reads it."""
        read = read_report(self.report_text)
        assert isinstance(read, CalibrationFailure), (self.report_text, self.err)
        return read

    @property
    def steps(self) -> list[CalibrationStep]:
        """The progress, as the operator reads it: a bar may be redrawn after a carriage return."""
        lines = self.out.decode().replace("\r", "\n").split("\n")
        return [step for step in map(read_step, lines) if step]


@dataclass
class Pod:
    """The pod: its folders, and what is to go wrong in it."""

    python: str
    place: Path
    output: Path
    environment: dict[str, str]
    trouble: dict[str, Any] = field(default_factory=dict)
    reports: int = 0
    alive: list["subprocess.Popen[bytes]"] = field(default_factory=list)

    @property
    def folder(self) -> Path:
        """Where the result is."""
        return self.output / LOWER

    @property
    def arguments(self) -> dict[str, str]:
        """Those that every run is given, unless a test says otherwise."""
        dataset = self.place / "data/datasets/staged.pkl"
        return {
            "--backend": "Script", "--model": str(self.place / "data/snapshots/0123abc"),
            "--name": f"meta-llama/{NAME}", "--output": str(self.output),
            "--tensor-parallel-size": "2", "--sample-limit": "96",
            "--dataset": str(dataset), "--dataset-sha256": hashlib.sha256(DATASET).hexdigest(),
            "--scripts": str(self.place / "image/calibration"),
            "--work": str(self.place / "work"), "--every": "0.2",
        }  # fmt: skip

    def start(self, *more: str, **changed: str | None) -> "subprocess.Popen[bytes]":
        """Start it; `sample_limit="8"` changes an argument, None leaves it out."""
        named = {**self.arguments, **{f"--{key.replace('_', '-')}": value for key, value in changed.items()}}
        words = [word for key, value in named.items() if value is not None for word in (key, value)]
        for folder in (self.place / "image/calibration", self.place / "image/tools"):
            if folder.exists():
                (folder / "trouble.json").write_text(json.dumps({**self.trouble, "record": str(self.record)}))
        self.reports += 1
        self.report.touch()
        self.report.chmod(0o666)
        # -S and -E: nothing but the standard library is there.
        command = [
            self.python,
            "-S",
            "-E",
            "-m",
            "podscripts.calibrate",
            *words,
            "--report",
            str(self.report),
            *more,
        ]
        process = subprocess.Popen(
            command, cwd=self.place / "mounted", env=self.environment, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, **identity(USER),
        )  # fmt: skip
        self.alive.append(process)
        return process

    @property
    def record(self) -> Path:
        """Where the tools write down what they were called with."""
        return self.place / "record"

    @property
    def report(self) -> Path:
        """The termination message of the last run."""
        return self.place / f"report-{self.reports}"

    def wait(self, process: "subprocess.Popen[bytes]") -> Ended:
        """Until it ends."""
        out, err = process.communicate(timeout=PATIENCE_SECONDS)
        return Ended(process.returncode, out, err.decode(), self.report.read_text())

    def run(self, *more: str, **changed: str | None) -> Ended:
        """Run it to its end."""
        return self.wait(self.start(*more, **changed))

    def read_until(self, process: "subprocess.Popen[bytes]", *words: bytes) -> bytes:
        """What it says until it has said some words, one after the other."""
        assert process.stdout
        seen, left = b"", list(words)
        watch = threading.Timer(PATIENCE_SECONDS, process.kill)
        watch.start()
        try:
            while left:
                line = process.stdout.readline()
                assert line, f"it has ended, or was ended, without having said {left}: {seen!r}"
                seen += line
                if left[0] in line:
                    del left[0]
        finally:
            watch.cancel()
            watch.join()
        return seen

    def calls(self) -> list[dict[str, Any]]:
        """What the tools were called with, one after the other."""
        return [json.loads(file.read_text()) for file in sorted(self.record.glob("run-*"))]

    def until(self, process: "subprocess.Popen[bytes]", step: str) -> None:
        """Wait until the tool has reached a step."""
        reached, tick = self.record / "reached", threading.Event()
        for _ in range(PATIENCE_SECONDS * 20):
            if reached.exists() and reached.read_text() == step:
                return
            assert process.poll() is None, process.communicate()
            tick.wait(0.05)
        pytest.fail(f"{step} is never reached")


def install_scripts(folder: Path) -> None:
    """The scripts of an image: root's, and nobody else's to write."""
    folder.mkdir(parents=True)
    shutil.copy(STUB, folder / "stub.py")
    (folder / "calibrate_model.sh").write_text(
        '#!/bin/bash\ncd "$(dirname "$0")" || exit 9\nexec python3 stub.py script "$@"\n'
    )
    (folder / "step-5-unify_measurements.py").write_text(
        "import runpy, sys\nsys.argv.insert(1, 'unify')\nrunpy.run_path('stub.py', run_name='__main__')\n"
    )


def install_command(folder: Path, path: Path) -> None:
    """The command that replaces them."""
    folder.mkdir(parents=True)
    path.mkdir(exist_ok=True)
    shutil.copy(STUB, folder / "stub.py")
    tool = path / "vllm-gaudi-calibrate"
    tool.write_text(f'#!/bin/sh\nexec python3 "{folder}/stub.py" command "$@"\n')
    tool.chmod(0o755)


@pytest.fixture
def pod(python: tuple[str, dict[str, str]], place: Path) -> Iterator[Pod]:
    """A pod whose image has the scripts."""
    mounted(place / "mounted/podscripts")
    model = place / "data/snapshots/0123abc"
    for folder in (model, place / "data/datasets", place / "work", place / "record", place / "home"):
        folder.mkdir(parents=True)
    (model / "config.json").write_text("{}")
    (place / "data/datasets/staged.pkl").write_bytes(DATASET)
    give(place)
    install_scripts(place / "image/calibration")
    environment = {
        "PATH": f"{place}/bin:{os.defpath}",
        "HOME": str(place / "home"),
        "HOSTNAME": "calibrate-x7k",
    }
    pod = Pod(python[0], place, place / "data/inc/f1", environment)
    yield pod
    for process in pod.alive:
        if process.poll() is None:
            process.kill()
        process.wait()
        for pipe in (process.stdout, process.stderr):
            if pipe:
                pipe.close()


@pytest.fixture
def command(pod: Pod) -> Callable[..., Ended]:
    """Runs it with the other backend, in an image that holds the command."""
    install_command(pod.place / "image/tools", pod.place / "bin")

    def run(*more: str, **changed: str | None) -> Ended:
        without = {"dataset": None, "dataset_sha256": None, "backend": "Command"}
        return pod.run(*more, **{**without, **changed})

    return run

"""What a server's init container looks at before the server starts."""

import hashlib
import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.podscripts.calibration.conftest import Pod
from tests.podscripts.conftest import PODSCRIPTS, identity
from vllm_operator.api.calibration import Calibrated, CalibrationFailure, read_report
from vllm_operator.api.prefetch import EXIT_ACT
from vllm_operator.api.reasons import Reason

SOURCE = (PODSCRIPTS / "verify.py").read_text()
Verify = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def done(pod: Pod) -> Calibrated:
    """Files of a calibration."""
    return pod.run().done


@pytest.fixture
def verify(pod: Pod, done: Calibrated) -> Verify:
    """Runs it alone, as uid 2000: another image's user may only read."""

    def run(*more: str, sha256: str = done.sha256) -> "subprocess.CompletedProcess[str]":
        report = pod.place / "verify-report"
        report.write_text("")
        report.chmod(0o666)
        words = [pod.python, "-I", "-S", "-c", SOURCE, "--folder", done.output, "--sha256", sha256]
        return subprocess.run(
            [*words, "--report", str(report), *more],
            cwd="/", env={}, text=True, capture_output=True, check=False, **identity(2000),
        )  # fmt: skip

    return run


def refused(pod: Pod, ended: "subprocess.CompletedProcess[str]", *words: str) -> None:
    assert ended.returncode == EXIT_ACT
    read = read_report((pod.place / "verify-report").read_text())
    assert isinstance(read, CalibrationFailure)
    assert read.reason == Reason.ARTIFACTS_CHANGED
    assert "Traceback" not in ended.stderr
    for word in words:
        assert word in read.message
        assert word in ended.stderr


def test_it_is_small_and_stands_alone() -> None:
    assert len(SOURCE.splitlines()) < 70
    assert "from ." not in SOURCE
    assert len(SOURCE.encode()) < 4096


def test_what_is_as_it_was(pod: Pod, verify: Verify, done: Calibrated) -> None:
    ended = verify(sha256=done.sha256.upper())
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")
    assert (pod.place / "verify-report").read_text() == ""


@pytest.mark.parametrize(
    "name", ["manifest.json", "maxabs_quant_g2.json", "g2/inc_output_hooks_maxabs_1_2.npz"]
)
@pytest.mark.parametrize("how", ["changed", "longer", "gone", "a folder", "unreadable", "empty"])
def test_what_is_not(pod: Pod, verify: Verify, name: str, how: str) -> None:
    path = pod.folder / name
    content = path.read_bytes()
    if how == "changed":
        path.write_bytes(content[:-2] + bytes([content[-2] ^ 1]) + content[-1:])
    elif how == "longer":
        path.write_bytes(content + b" ")
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "unreadable":
        path.chmod(0o600)
    else:
        path.unlink()
        path.mkdir() if how == "a folder" else None
    refused(pod, verify(), str(path), "calibrate anew")


def test_another_manifest_than_that_of_the_revision(pod: Pod, verify: Verify) -> None:
    refused(pod, verify(sha256="0" * 64), "manifest.json is another manifest")


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"files": {}}', '{"files": ["a"]}', '{"files": {"a": 1}}'])
def test_a_list_that_is_none(pod: Pod, verify: Verify, text: str) -> None:
    (pod.folder / "manifest.json").write_text(text)
    refused(pod, verify(sha256=hashlib.sha256(text.encode()).hexdigest()), str(pod.folder))


def test_a_manifest_elsewhere(pod: Pod, verify: Verify) -> None:
    other = pod.place / "manifest-of-foreign-files.json"
    os.rename(pod.folder / "manifest.json", other)
    refused(pod, verify(), "manifest.json cannot be read (No such file or directory)")
    assert verify("--manifest", str(other)).returncode == 0
    file = pod.folder / "g2/inc_output_hooks_maxabs_0_2.json"
    file.write_text(json.dumps({}))
    refused(pod, verify("--manifest", str(other)), str(file))


def test_a_report_that_cannot_be_written(verify: Verify) -> None:
    ended = verify("--report", "/proc/nowhere", sha256="0" * 64)
    assert ended.returncode == EXIT_ACT
    assert "ArtifactsChanged" in ended.stderr
    assert Path("/proc/nowhere").exists() is False

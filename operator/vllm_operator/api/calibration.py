"""What a calibration Job tells the operator: the other side of `podscripts/calibrate.py`."""

import json
import re
from dataclasses import dataclass

from vllm_operator.api.reasons import Reason

FAILURES = {
    reason.value: reason
    for reason in (
        *(Reason.ARTIFACTS_CHANGED, Reason.ARTIFACTS_INCOMPLETE, Reason.CACHE_FULL),
        *(Reason.CACHE_NOT_READABLE, Reason.CALIBRATION_FAILED, Reason.CALIBRATION_TOOL_MISSING),
        *(Reason.DATASET_INVALID, Reason.GENERATION_MISMATCH, Reason.OUT_OF_DEVICE_MEMORY),
        *(Reason.SAMPLES_MISSING, Reason.UNIFY_FAILED),
    )
}
"""Reasons that a report may hold; ArtifactsChanged is that of `podscripts/verify.py`."""

STEPS = ("prepare", "measure", "postprocess", "quantize", "unify", "verify", "done")


@dataclass(frozen=True, slots=True)
class Calibrated:
    """The result is there, every file of it."""

    output: str
    manifest: str
    quant_config: str
    generation: str
    world_size: int
    samples: int | None
    files: int
    bytes: int
    sha256: str
    """Of the manifest."""
    reused: bool
    """Whether all was there already."""


@dataclass(frozen=True, slots=True)
class CalibrationFailure:
    """There is no result."""

    reason: Reason
    message: str


@dataclass(frozen=True, slots=True)
class CalibrationStep:
    """How far a calibration has come."""

    step: str
    done: int = 0
    total: int = 0
    eta_minutes: int | None = None


def read_report(text: str) -> Calibrated | CalibrationFailure | None:
    """What a termination message says; None when it is no report, such as that of a killed container."""
    try:
        report = json.loads(text)
        if "reason" in report:
            return CalibrationFailure(FAILURES[report["reason"]], str(report["message"]))
        samples = report["samples"]
        return Calibrated(
            output=str(report["output"]),
            manifest=str(report.get("manifest") or f"{report['output']}/manifest.json"),
            quant_config=str(report["quantConfig"]),
            generation=str(report["generation"]),
            world_size=int(report["worldSize"]),
            samples=None if samples is None else int(samples),
            files=int(report["files"]),
            bytes=int(report["bytes"]),
            sha256=str(report["sha256"]),
            reused=bool(report["reused"]),
        )
    except (ValueError, TypeError, KeyError):
        return None


def read_step(line: str) -> CalibrationStep | None:
    """What a line of a calibration's log says; None for lines that are for people."""
    found = re.fullmatch(
        rf"calibrate: ({'|'.join(STEPS)})(?: ([0-9]{{1,9}})/([0-9]{{1,9}}))?(?: ETA ([0-9]{{1,6}}))?",
        line.strip(),
    )
    if found is None:
        return None
    step, done, total, eta = found.groups()
    return CalibrationStep(step, int(done or 0), int(total or 0), None if eta is None else int(eta))

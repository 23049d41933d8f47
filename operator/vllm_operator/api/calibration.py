"""What a calibration Job tells the operator: the other side of `podscripts/calibrate.py`."""

import json
import re
from dataclasses import dataclass
from typing import Literal, get_args

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

Step = Literal["prepare", "measure", "postprocess", "quantize", "unify", "verify", "done"]
STEPS: tuple[Step, ...] = get_args(Step)


@dataclass(frozen=True, slots=True)
class Calibrated:
    """The files that a server needs are there, and have been looked at."""

    output: str
    """Their folder."""
    quant_config: str
    """QUANT_CONFIG of a server."""
    generation: Literal["g2", "g3"]
    """Of the cards that measured."""
    world_size: int
    """Cards that a server has to have."""
    samples: int
    """Measured; 0 where nobody tells, as of files that were made by hand."""
    files: int
    bytes: int
    sha256: str
    """Of the manifest, and so of every file."""
    manifest: str
    """Its path: `manifest.json` in `output`, but for files that were made by hand where nobody may write."""
    reused: bool
    """Whether it was there already."""


@dataclass(frozen=True, slots=True)
class CalibrationFailure:
    """There is no result that a server could use."""

    reason: Reason
    message: str


@dataclass(frozen=True, slots=True)
class CalibrationStep:
    """How far a calibration has come."""

    step: Step
    done: int = 0
    total: int = 0
    """Samples, or requests of lm-eval; 0 where a step has no measure."""
    eta: int | None = None
    """Minutes that are left of the step, where the tool tells."""


def read_report(text: str) -> Calibrated | CalibrationFailure | None:
    """What a termination message says; None when it is no report, such as that of a killed container."""
    try:
        report = json.loads(text)
        if "reason" in report:
            return CalibrationFailure(FAILURES[report["reason"]], str(report["message"]))
        if report["generation"] not in ("g2", "g3"):
            return None
        return Calibrated(
            output=str(report["output"]),
            quant_config=str(report["quantConfig"]),
            generation=report["generation"],
            world_size=int(report["worldSize"]),
            samples=int(report["samples"]),
            files=int(report["files"]),
            bytes=int(report["bytes"]),
            sha256=str(report["sha256"]),
            manifest=str(report["manifest"]),
            reused=bool(report["reused"]),
        )
    except (ValueError, TypeError, KeyError):
        return None


def read_step(line: str) -> CalibrationStep | None:
    """What a line of a calibration's log says; None for the lines of the tool, and for people."""
    found = re.fullmatch(
        rf"calibrate: ({'|'.join(STEPS)})"
        r"(?: ([0-9]{1,18})/([0-9]{1,18}))?(?: ETA ([0-9]{1,9}))?",
        line.strip(),
    )
    if found is None:
        return None
    step, done, total, eta = found.groups()
    return CalibrationStep(step, int(done or 0), int(total or 0), int(eta) if eta else None)  # type: ignore[arg-type]

"""What a prefetch Job tells the operator: the other side of `podscripts/prefetch.py`."""

import json
import re
from dataclasses import dataclass
from typing import Any, Literal

from vllm_operator.api.reasons import Reason

EXIT_ACT = 78
"""Exit code of a prefetch that no other try helps until somebody acts: a Job need not try again."""

FAILURES = {
    reason.value: reason
    for reason in (
        *(Reason.CACHE_FULL, Reason.CACHE_NOT_READABLE, Reason.CALIBRATION_TOOL_MISSING),
        *(Reason.DATASET_INVALID, Reason.DATASET_NOT_FOUND, Reason.GATED_MODEL, Reason.HUB_UNREACHABLE),
        *(Reason.INVALID_TOKEN, Reason.MODEL_NOT_FOUND, Reason.PREFETCH_FAILED),
    )
}
"""Reasons that a report may hold."""


@dataclass(frozen=True, slots=True)
class StagedDataset:
    """What a calibration is to be fed with is in the cache."""

    path: str
    sha256: str
    bytes: int


@dataclass(frozen=True, slots=True)
class Prefetched:
    """The model is in the cache, whole."""

    commit: str
    """Empty for a model that somebody has put into the cache as a folder."""
    files: int
    bytes: int
    downloaded: int
    """Bytes of it that this run has fetched."""
    adopted: int
    """Files that lay elsewhere in the claim, and have been linked."""
    cache: str
    """The folder that is to be HF_HUB_CACHE: `hub` below HF_HOME, but in a claim that cannot be written."""
    dataset: StagedDataset | None = None


@dataclass(frozen=True, slots=True)
class PrefetchFailure:
    """The model could not be brought."""

    reason: Reason
    message: str


@dataclass(frozen=True, slots=True)
class PrefetchStep:
    """How far a prefetch has come: the message that goes with Reason.PREFETCHING."""

    step: Literal["resolve", "verify", "download", "dataset", "done"]
    done: int = 0
    total: int = 0
    """Bytes, or tasks of lm-eval; 0 where a step has no measure."""


def read_report(text: str) -> Prefetched | PrefetchFailure | None:
    """What a termination message says; None when it is no report, such as that of a killed container."""
    try:
        report = json.loads(text)
        if "reason" in report:
            return PrefetchFailure(FAILURES[report["reason"]], str(report["message"]))
        return Prefetched(
            commit=str(report["commit"]),
            files=int(report["files"]),
            bytes=int(report["bytes"]),
            downloaded=int(report["downloaded"]),
            adopted=int(report["adopted"]["files"]),
            cache=str(report["cache"]),
            dataset=_dataset(report.get("dataset")),
        )
    except (ValueError, TypeError, KeyError):
        return None


def _dataset(told: Any) -> StagedDataset | None:
    if told is None:
        return None
    return StagedDataset(str(told["path"]), str(told["sha256"]), int(told["bytes"]))


def read_step(line: str) -> PrefetchStep | None:
    """What a line of a prefetch's log says; None for lines that are for people."""
    found = re.fullmatch(
        r"prefetch: (resolve|verify|download|dataset|done)(?: ([0-9]{1,18})/([0-9]{1,18}))?", line.strip()
    )
    if found is None:
        return None
    step, done, total = found.groups()
    return PrefetchStep(step, int(done or 0), int(total or 0))  # type: ignore[arg-type]

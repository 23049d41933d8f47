"""What a prefetch Job tells the operator: the other side of `podscripts/prefetch.py`."""

import json
import re
from dataclasses import dataclass
from typing import Literal

from vllm_operator.api.reasons import Reason

EXIT_ACT = 78
"""Exit code of a prefetch that no other try helps until somebody acts: a Job need not try again."""

FAILURES = {
    reason.value: reason
    for reason in (
        *(Reason.CACHE_FULL, Reason.CACHE_NOT_READABLE, Reason.GATED_MODEL, Reason.HUB_UNREACHABLE),
        *(Reason.INVALID_TOKEN, Reason.MODEL_NOT_FOUND, Reason.PREFETCH_FAILED),
    )
}
"""Reasons that a report may hold."""


@dataclass(frozen=True, slots=True)
class Prefetched:
    """The model is in the cache, whole."""

    commit: str
    files: int
    bytes: int
    downloaded: int
    """Bytes of it that this run has fetched."""
    adopted: int
    """Files that lay elsewhere in the claim, and have been linked."""
    cache: str
    """The folder that is to be HF_HUB_CACHE: `hub` below HF_HOME, but in a claim that cannot be written."""


@dataclass(frozen=True, slots=True)
class PrefetchFailure:
    """The model could not be brought."""

    reason: Reason
    message: str


@dataclass(frozen=True, slots=True)
class PrefetchStep:
    """How far a prefetch has come: the message that goes with Reason.PREFETCHING."""

    step: Literal["resolve", "verify", "download", "done"]
    done: int = 0
    total: int = 0
    """Bytes; 0 where a step has no measure."""


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
        )
    except (ValueError, TypeError, KeyError):
        return None


def read_step(line: str) -> PrefetchStep | None:
    """What a line of a prefetch's log says; None for lines that are for people."""
    found = re.fullmatch(
        r"prefetch: (resolve|verify|download|done)(?: ([0-9]{1,18})/([0-9]{1,18}))?", line.strip()
    )
    if found is None:
        return None
    step, done, total = found.groups()
    return PrefetchStep(step, int(done or 0), int(total or 0))  # type: ignore[arg-type]

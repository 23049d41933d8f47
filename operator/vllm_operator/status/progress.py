"""How far a start has come, from the last lines of a log.

Formats: vllm-gaudi 0.26 (hpu_model_runner.py, warmup_graphs), line by line with VLLM_DEVELOPER_MODE and as
one bar that is redrawn without it; Intel's fork of vLLM before that (habana_model_runner.py); vLLM's own
loader (model_loader/weight_utils.py); and our own prefetch (podscripts/prefetch.py).
"""

import re

from vllm_operator.api import calibration
from vllm_operator.api.prefetch import read_step
from vllm_operator.api.seen import Progress

# A few digits only: int() raises on thousands of them, and a log may say anything.
_COUNTED = r"(?P<done>[0-9]{1,9})/(?P<total>[0-9]{1,9})"
_STEPS = (
    re.compile(rf"\[Warmup\]\[(?P<phase>[^\]]{{1,40}})\]\[{_COUNTED}\]"),
    re.compile(rf"(?P<phase>\w{{1,40}}) warmup processing: ?:?\s+\d+%\|[^|]*\| {_COUNTED}"),
    re.compile(rf"(?P<phase>Loading) \w+ checkpoint shards:\s+\d+% Completed \| {_COUNTED}"),
)


def read(log: str) -> Progress | None:
    """The last step that a log tells of, or None if it tells of none."""
    # A bar is redrawn after a carriage return, and nothing but it stands in its line.
    for line in reversed(re.split(r"[\r\n]+", log)):
        fetched, measured = read_step(line), calibration.read_step(line)
        if fetched:
            return Progress(fetched.step, fetched.done, fetched.total)
        if measured:
            return Progress(measured.step, measured.done, measured.total, measured.eta)
        for step in _STEPS:
            found = step.search(line)
            if found:
                return Progress(found["phase"], int(found["done"]), int(found["total"]))
    return None

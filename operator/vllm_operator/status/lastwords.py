"""What a container's last words come down to.

The kubelet keeps the last 2048 bytes of the log (k8s.io/kubernetes v1.36.3,
pkg/kubelet/container/runtime.go). Of a Python program that failed these are mostly frames of a traceback,
and one or two lines that say what was wrong.
"""

import re

_PREFIX = re.compile(r"^\([-\w]+ pid=\d+\) [A-Z]+ \S+ \S+ \[[^]]*\] ?")
"""What vLLM puts before every line of its own processes (vllm 0.32.0, logger.py)."""
_FRAME = '  File "'
_NOISE = re.compile(r"^    For further information visit |\bresource_tracker\b|^  warnings\.warn\(")
"""pydantic's link to its own documentation, and what Python says of shared memory after an end."""

ELSEWHERE = "See root cause above"
"""What vLLM's front says when its engine has failed: the cause stands further up than the kubelet keeps
(vllm 0.32.0, v1/engine/utils.py, wait_for_engine_startup: its traceback alone has 3 kB)."""


def gist(words: str) -> str:
    """The lines that say what went wrong: those after the last traceback, or all if there is none."""
    # By line feeds only: whatever else splitlines() takes for an end of a line would be lost.
    lines = words.strip().split("\n")
    bare = [_PREFIX.sub("", line) for line in lines]
    frames = [index for index, line in enumerate(bare) if line.startswith(_FRAME)]
    start = frames[-1] + 1 if frames else 0
    # A frame goes on with its source, further in than a message is.
    while frames and start < len(bare) and bare[start].startswith("    "):
        start += 1
    kept = [line for line, text in zip(lines, bare, strict=True) if not _NOISE.search(text)]
    told = [line for line, text in zip(lines[start:], bare[start:], strict=True) if not _NOISE.search(text)]
    return "\n".join(told or kept)

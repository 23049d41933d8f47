"""What the calibration tools tell in their output.

Of vllm-gaudi: calibrate_model.sh and its steps at 091bbadd (2026-08-21), and vllm-gaudi-calibrate, which
replaces them (orchestrator.py), with the bars of lm-eval.
"""

import re

from .log import Progress

_STEPS = (
    (re.compile(r"^1/4 Preparing calibration dataset"), "prepare"),
    (re.compile(r"^2/4 Measuring scales"), "measure"),
    (re.compile(r"^3/4 Postprocessing scales"), "postprocess"),
    (re.compile(r"^4/4 Quantize scales"), "quantize"),
    (re.compile(r"\bStarting measure phase\b"), "measure"),
    (re.compile(r"\bStarting quantize phase\b"), "quantize"),
)
# A few digits only: int() raises on thousands of them, and a tool may say anything.
_COUNTED = r"([0-9]{1,9})/([0-9]{1,9})"
_BATCH = re.compile(rf"Batch finished: {_COUNTED} samples done(?:; ETA: ([0-9]{{1,9}}) min)?")
_LAST = re.compile(rf"Last batch finished: {_COUNTED} samples done")
_BAR = re.compile(rf"(Running \w+ requests):? +\d+%\|[^|]*\| *{_COUNTED}")
_DEVICE = re.compile(r"^Detected device type: (g\d)\b|\bpreset \S+, device (g\d)\b")
_NO_DEVICE = re.compile(r"^Invalid device type: (\w*)")
_MEMORY = re.compile(r"PT_DEVMEM.*(?:Allocation failed|OOM)")
_FULL = re.compile(r"No space left on device|Disk quota exceeded|\bErrno (?:28|122)\b")
_TOO_LONG = re.compile(r"maximum context length is \d|longer than the maximum model length")
_IGNORED = re.compile(r"\bException ignored ")
"""Before the traceback of a destructor or an exit handler: Python goes on, as engines do that end well."""
_ANNOUNCED = re.compile(r"^--- Logging error ---|Failed to load plugin")
"""Before a traceback that its program goes on after: hardly the cause of anything."""
_WARNED = re.compile(r"\bWARNING \d")
"""In the lines of such a traceback."""
_TRACEBACK = re.compile(r"Traceback \(most recent call last\)")
_PREFIX = re.compile(
    r"^(?:\([^)]{1,60}\) ?)?(?:(?:ERROR|WARNING|INFO|CRITICAL) [\d-]+ [\d:]+ (?:\[[^\]]{1,80}\] ?)?)?"
)
"""What vLLM puts before a line of a worker: `(EngineCore pid=7) ERROR 08-21 10:00:00 [core.py:1] `."""
_EXCEPTION = re.compile(r"[A-Za-z_][\w.]*(?:: .*)?")


class Told:
    """Gathers it, line by line, and makes progress of it."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress
        self.generation: str | None = None
        self.no_device: str | None = None
        """What the first step has found instead of a Gaudi 2 or 3."""
        self.samples: tuple[int, int] | None = None
        """Measured, and asked for; the scripts' words."""
        self.bars: list[tuple[str, int, int]] = []
        """Requests of lm-eval that measure, done and in all, one for each of its bars."""
        self.error: str | None = None
        """The exception of the first traceback that may have ended something: the others follow from it."""
        self.step = ""
        """In which step that was."""
        self.memory: str | None = None
        """What the cards' memory was too small for."""
        self.full: str | None = None
        """What found no space on a volume."""
        self.too_long: str | None = None
        """What says that a row has more tokens than the engine takes."""
        self.began = False
        """Whether it has begun with any of its steps."""
        self._within = self._ignored = self._announced = False
        self._vague = True
        """Whether the error is one that the program has gone on after, or there is none."""

    def line(self, text: str) -> None:
        """Take a line."""
        for pattern, step in _STEPS:
            if pattern.search(text):
                self.began = True
                self.progress.begin(step)
        self._count(text)
        self._device(text)
        if self.memory is None and _MEMORY.search(text):
            self.memory = text
        if self.full is None and _FULL.search(text):
            self.full = text
        if self.too_long is None and _TOO_LONG.search(text):
            self.too_long = text
        self._trace(text)

    def _count(self, text: str) -> None:
        if found := _LAST.search(text):
            self.samples = int(found[1]), int(found[2])
            self.progress.set("measure", *self.samples, 0)
        elif found := _BATCH.search(text):
            eta = int(found[3]) if found[3] else None
            self.progress.set("measure", int(found[1]), int(found[2]), eta)
        elif (found := _BAR.search(text)) and self.progress.step == "measure":
            bar = found[1], int(found[2]), int(found[3])
            same = self.bars and (bar[0], bar[2]) == (self.bars[-1][0], self.bars[-1][2])
            if same and bar[1] >= self.bars[-1][1]:
                self.bars.pop()
            self.bars.append(bar)
            self.progress.set("measure", bar[1], bar[2])

    def _device(self, text: str) -> None:
        if found := _DEVICE.search(text):
            self.generation, self.began = found[1] or found[2], True
        if found := _NO_DEVICE.search(text):
            self.no_device = found[1]

    def _trace(self, text: str) -> None:
        if self.error and not self._vague:
            return
        vague = self._announced or bool(_WARNED.search(text))
        self._announced = bool(_ANNOUNCED.search(text))
        if _IGNORED.search(text):
            self._ignored = True
        elif _TRACEBACK.search(text):
            if not self._ignored and (self.error is None or not vague):
                self._within, self._vague = True, vague
                self.error, self.step = "", self.progress.step
            self._ignored = False
        if self._within:
            rest = _PREFIX.sub("", text, count=1)
            if _EXCEPTION.fullmatch(rest.rstrip()) and not _TRACEBACK.search(rest):
                self.error, self._within = rest.strip(), False

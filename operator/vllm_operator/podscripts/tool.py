"""Runs another program: in a process group of its own, its output passed on as it comes, and looked at."""

import contextlib
import math
import os
import re
import select
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from .failures import EXIT_TERMINATED

GRACE_SECONDS = 20
"""From SIGTERM until what still runs is killed: less than the 30 that the Job gives its pod."""
AFTER_SECONDS = 5
"""How long we listen to what a program has left behind when it has ended, whatever that says."""
REST = 1 << 20
"""Bytes, as many as a pipe holds: what is read at once when that time is over."""
NEAR = 4096
"""Bytes: the operator reads the last 16 KiB of a log, or fewer (decision 8)."""
CHUNK = 1 << 16
LONGEST_LINE = 8192
LINES = 40
"""Lines that are kept, the last ones, for the message of a failure."""


class Console:
    """Stdout, shared by another program's output and our own lines: neither begins within the other's."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._within = False
        self._since = 0

    def raw(self, content: bytes) -> None:
        """Pass on output, as it is."""
        with self._lock:
            self._write(content)
            self._since += len(content)
            self._within = not content.endswith((b"\n", b"\r"))

    def line(self, text: str) -> None:
        """Say something of our own."""
        with self._lock:
            self._write((b"\n" if self._within else b"") + text.encode() + b"\n")
            self._within, self._since = False, 0

    def buried(self) -> bool:
        """Whether our last line is so far back that whoever reads the end of the log misses it."""
        return self._since > NEAR

    def _write(self, content: bytes) -> None:
        sys.stdout.buffer.write(content)
        sys.stdout.buffer.flush()


class Outcome(NamedTuple):
    """How a program has ended."""

    code: int
    """Negative: the signal that ended it."""
    tail: list[str]
    """Its last lines."""


class _Running:
    """The process group that SIGTERM goes to."""

    group: int | None = None
    stopped = False


def listen() -> None:
    """From now on SIGTERM is passed on to what runs, which then has a while to end."""
    signal.signal(signal.SIGTERM, _stop)
    signal.signal(signal.SIGALRM, _kill)


def _stop(*_: Any) -> None:
    if _Running.group is None:
        os._exit(EXIT_TERMINATED)
    _Running.stopped = True
    _signal(signal.SIGTERM)
    signal.alarm(GRACE_SECONDS)


def _kill(*_: Any) -> None:
    _signal(signal.SIGKILL)
    os._exit(EXIT_TERMINATED)


def _signal(number: int) -> None:
    if _Running.group is not None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(_Running.group, number)


def run(
    words: list[str],
    folder: str,
    environment: Mapping[str, str],
    console: Console,
    watch: Callable[[str], None],
) -> Outcome:
    """Run it to its end; each line that it says is watched. Raises OSError, and what watching raises."""
    process = subprocess.Popen(  # noqa: S603 - a list of words: no shell reads them
        words,
        cwd=folder,
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    _Running.group = process.pid
    lines = _Lines(watch)
    try:
        for content in _output(process):
            console.raw(content)
            lines.add(content)
        lines.end()
    finally:
        _signal(signal.SIGKILL)  # what it has left behind would hold the cards
        process.wait()
        _Running.group = None
        if process.stdout:
            process.stdout.close()
        if _Running.stopped:
            os._exit(EXIT_TERMINATED)
    return Outcome(process.returncode, list(lines.tail))


def _output(process: "subprocess.Popen[bytes]") -> Any:
    """What comes, until nobody is there any more who could say something, or a while after it has ended."""
    assert process.stdout is not None  # noqa: S101 - it is a pipe
    descriptor, end = process.stdout.fileno(), math.inf
    while time.monotonic() < end:
        if end == math.inf and process.poll() is not None:
            end = time.monotonic() + AFTER_SECONDS
        if select.select([descriptor], [], [], 0.2)[0]:
            content = os.read(descriptor, CHUNK)
            if not content:
                return
            yield content
    # Who reads our own output may be slow: what the program itself has said last may not be lost.
    for _ in range(0, REST, CHUNK):
        content = os.read(descriptor, CHUNK) if select.select([descriptor], [], [], 0)[0] else b""
        if not content:
            return
        yield content


class _Lines:
    """Cuts output into lines; a bar that is redrawn after a carriage return is one each time."""

    def __init__(self, watch: Callable[[str], None]) -> None:
        self.tail: deque[str] = deque(maxlen=LINES)
        self._watch = watch
        self._rest = b""

    def add(self, content: bytes) -> None:
        *whole, rest = re.split(rb"[\r\n]", self._rest + content)
        self._rest = rest[-LONGEST_LINE:]
        for each in whole:
            self._line(each)

    def end(self) -> None:
        self._line(self._rest)

    def _line(self, content: bytes) -> None:
        text = content[-LONGEST_LINE:].decode(errors="replace").rstrip()
        if text.strip():
            self.tail.append(text)
            self._watch(text)

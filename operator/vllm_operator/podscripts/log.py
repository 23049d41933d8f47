"""What is told: progress on stdout, notes on stderr, the report in a file. No secret leaves through here."""

import json
import os
import re
import sys
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

_END = r"[^\s\"'<>]*[^\s\"'<>.,;:)]"
_QUERY = re.compile(rf"(https?://[^\s?\"'<>]*\?|\?(?=[\w.~%+-]+=)){_END}", re.IGNORECASE)
"""What signs an address is a password. Client libraries also name a path and its query alone."""
secrets: set[str] = set()
"""What is hidden besides the environment's HF_TOKEN: a program adds what else it knows."""


def masked(text: str) -> str:
    """The text on one line, without tokens and passwords."""
    for secret in {os.environ.get("HF_TOKEN", "").strip(), *secrets} - {""}:
        text = text.replace(secret, "***")
    text = re.sub(r"hf_\w+|(?<=://)[^/@\s]+(?=@)", "***", text)
    return " ".join(_QUERY.sub(r"\1***", text).split())


def note(text: str) -> None:
    """Tell somebody who reads the log."""
    print(f"note: {masked(text)}", file=sys.stderr, flush=True)


def report(path: str, content: Mapping[str, Any]) -> None:
    """Leave it where the kubelet takes it from."""
    try:
        with open(path, "w", encoding="utf-8", errors="replace") as handle:
            json.dump(content, handle, ensure_ascii=False)
    except OSError as error:
        note(f"The report cannot be written ({error}): {content}")


def line(text: str) -> None:
    """Tell a program that reads the log."""
    print(text, flush=True)


class Progress:
    """Says on stdout what is being done: `PROGRAM: STEP`, `PROGRAM: STEP DONE/TOTAL`, and ` ETA MINUTES`."""

    def __init__(
        self,
        seconds: float,
        program: str = "prefetch",
        say: Callable[[str], None] = line,
        buried: Callable[[], bool] = bool,
    ) -> None:
        self.step, self.done, self.total = "", 0, 0
        self.eta: int | None = None
        """Minutes that are left, where somebody knows."""
        self.received = 0
        """Bytes that came over the network."""
        self._program, self._tell = program, say
        self._buried = buried
        """Whether so much else has been said since that it has to be said again."""
        self._said = ""
        self._seconds = seconds
        self._lock = threading.Lock()
        threading.Thread(target=self._repeat, daemon=True).start()

    def begin(self, step: str, done: int = 0, total: int = 0) -> None:
        """Take up another step."""
        self.set(step, done, total)
        self._say()

    def set(self, step: str, done: int, total: int, eta: int | None = None) -> None:
        """Be so far; it is told when there is time."""
        with self._lock:
            self.step, self.done, self.total, self.eta = step, done, total, eta

    def add(self, done: int, received: int = 0) -> None:
        """So much more."""
        with self._lock:
            self.done += done
            self.received += received

    def _say(self) -> None:
        with self._lock:
            text = f"{self._program}: {self.step}" + (f" {self.done}/{self.total}" if self.total else "")
            text += "" if self.eta is None else f" ETA {self.eta}"
            if self.step and (text != self._said or self._buried()):
                self._tell(text)
            self._said = text

    def _repeat(self) -> None:
        while True:
            time.sleep(self._seconds)
            self._say()

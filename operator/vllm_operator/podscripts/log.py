"""What is told: progress on stdout, notes on stderr, the report in a file. No secret leaves through here."""

import json
import os
import re
import sys
import threading
import time
from collections.abc import Mapping
from typing import Any

from huggingface_hub import get_token


def masked(text: str) -> str:
    """The text on one line, without tokens and passwords."""
    for secret in (get_token(), os.environ.get("HF_TOKEN", "").strip()):
        if secret:
            text = text.replace(secret, "***")
    return " ".join(re.sub(r"hf_\w+|(?<=://)[^/@\s]+(?=@)", "***", text).split())


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


class Progress:
    """Says on stdout what is being done: `prefetch: STEP` or `prefetch: STEP DONE/TOTAL`, in bytes."""

    def __init__(self, seconds: float) -> None:
        self.step, self.done, self.total = "", 0, 0
        self.received = 0
        """Bytes that came over the network."""
        self._said = ""
        self._seconds = seconds
        self._lock = threading.Lock()
        threading.Thread(target=self._repeat, daemon=True).start()

    def begin(self, step: str, done: int = 0, total: int = 0) -> None:
        """Take up another step."""
        with self._lock:
            self.step, self.done, self.total = step, done, total
        self._say()

    def add(self, done: int, received: int = 0) -> None:
        """So many bytes more."""
        with self._lock:
            self.done += done
            self.received += received

    def _say(self) -> None:
        with self._lock:
            line = f"prefetch: {self.step}" + (f" {self.done}/{self.total}" if self.total else "")
            if self.step and line != self._said:
                print(line, flush=True)
            self._said = line

    def _repeat(self) -> None:
        while True:
            time.sleep(self._seconds)
            self._say()

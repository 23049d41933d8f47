"""What a kubelet does with a container, read off its source: variables, probes, last words.

All facts: k8s.io/kubernetes v1.36.3.
"""

import re
import threading
from collections.abc import Callable, Mapping
from typing import Any

Json = Mapping[str, Any]

LAST_WORDS_LINES = 80
LAST_WORDS_BYTES = 2048
"""What is kept of a log as termination message (pkg/kubelet/container/runtime.go)."""
LEAST_GRACE_SECONDS = 2
"""Time that a container has after SIGTERM at the least (pkg/kubelet/kuberuntime/kuberuntime_container.go)."""

_REFERENCE = re.compile(r"\$(?:\$|\(([^)]*)\))")


def expand(text: str, variables: Mapping[str, str]) -> str:
    """Replace `$(NAME)` by the variable, if there is one, and `$$` by `$` (third_party/.../expand.go)."""

    def value(found: re.Match[str]) -> str:
        name = found[1]
        return "$" if name is None else variables.get(name, found[0])

    return _REFERENCE.sub(value, text)


def last_words(log: bytes) -> str:
    """What is kept of the log of a container that failed, with FallbackToLogsOnError."""
    lines = log.splitlines(keepends=True)[-LAST_WORDS_LINES:]
    return b"".join(lines)[-LAST_WORDS_BYTES:].decode(errors="replace")


Probe = Callable[[Json], bool]
"""Makes one attempt of a probe as it is rendered, and tells whether it was a good one."""


class Prober(threading.Thread):
    """One probe of a container (pkg/kubelet/prober/worker.go).

    `result` is None until enough answers in a row were alike. `after` is the probe that has to succeed
    before this one begins. With `once` it is done when it has succeeded, as a startup probe is.
    """

    def __init__(
        self, name: str, spec: Json, ask: Probe, after: "Prober | None" = None, *, once: bool = False
    ):
        super().__init__(name=f"{name} probe", daemon=True)
        self.result: bool | None = None
        self.succeeded = threading.Event()
        self._spec, self._ask, self._after, self._once = spec, ask, after, once
        self._stopped = threading.Event()

    def run(self) -> None:
        while self._after is not None and not self._after.succeeded.wait(0.1):
            if self._stopped.is_set():
                return
        self._stopped.wait(self._spec.get("initialDelaySeconds", 0))
        latest, run = None, 0
        while not self._stopped.is_set() and not (self._once and self.succeeded.is_set()):
            answer = self._ask(self._spec)
            run = run + 1 if answer is latest else 1
            latest = answer
            if run >= self._spec.get(
                "successThreshold" if answer else "failureThreshold", 1 if answer else 3
            ):
                self.result = answer
            if self.result:
                self.succeeded.set()
            self._stopped.wait(self._spec.get("periodSeconds", 10))

    def stop(self) -> None:
        """Ask no more."""
        self._stopped.set()

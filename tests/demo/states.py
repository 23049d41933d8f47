"""What really happened to one server: every state of it, from a watch of its own."""

import threading
from dataclasses import dataclass
from typing import Any

from tests.harness.api import Api, Object, condition


@dataclass(frozen=True)
class State:
    """One state that the API server held."""

    generation: int
    observed: int
    ready: str
    reason: str

    @property
    def current(self) -> bool:
        """Whether the status speaks of the spec that is stored."""
        return self.generation == self.observed


def state_of(server: Object) -> State:
    """Read the state out of a server; empty words where no condition was written yet."""
    ready = condition(server, "Ready")
    return State(
        generation=server["metadata"]["generation"],
        observed=server.get("status", {}).get("observedGeneration", -1),
        ready=ready.get("status", ""),
        reason=ready.get("reason", ""),
    )


class States:
    """Collects the states of a server, each once in a row; a context manager."""

    def __init__(self, api: Api, namespace: str, name: str):
        """Watch one server of a namespace from its creation on."""
        self._api = api
        self._namespace = namespace
        self._name = name
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._ended = threading.Event()
        self.seen: list[State] = []

    def __enter__(self) -> "States":
        """Start to watch."""
        self._thread.start()
        return self

    def __exit__(self, *_: Any) -> None:
        """Keep nothing more; the watch itself ends with its time limit or the cluster."""
        self._ended.set()

    def reasons(self, generation: int) -> list[str]:
        """Return the reasons of Ready at a generation, in the order in which they were seen."""
        return [each.reason for each in self.seen if each.current and each.generation == generation]

    def _watch(self) -> None:
        try:
            for _, server in self._api.watch("VLLMServer", self._namespace, seconds=120):
                if self._ended.is_set():
                    return
                state = state_of(server)
                if server["metadata"]["name"] == self._name and state not in self.seen[-1:]:
                    self.seen.append(state)
        except Exception:
            # The cluster may go away under the watch; what was to be seen is asked for by the demo itself.
            if not self._ended.is_set():
                raise

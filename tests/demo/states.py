"""What really happened to the servers: every state of them, from a watch of its own."""

import threading
from dataclasses import dataclass
from typing import Any

from tests.harness.api import Api, Object, condition


@dataclass(frozen=True)
class State:
    """One state that the API server held."""

    name: str
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
        name=server["metadata"]["name"],
        generation=server["metadata"]["generation"],
        observed=server.get("status", {}).get("observedGeneration", -1),
        ready=ready.get("status", ""),
        reason=ready.get("reason", ""),
    )


class States:
    """Collects the states of all servers of a namespace, each once in a row; a context manager."""

    def __init__(self, api: Api, namespace: str):
        """Watch the servers of a namespace from their creation on."""
        self._api = api
        self._namespace = namespace
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._ended = threading.Event()
        self._seen: dict[str, list[State]] = {}

    def __enter__(self) -> "States":
        """Start to watch."""
        self._thread.start()
        return self

    def __exit__(self, *_: Any) -> None:
        """Keep nothing more; the watch itself ends with its time limit or the cluster."""
        self._ended.set()

    def at(self, name: str, generation: int) -> list[State]:
        """Return the states of a server at a generation, in the order in which they were seen."""
        return [each for each in self._seen.get(name, []) if each.generation == generation]

    def reasons(self, name: str, generation: int) -> list[str]:
        """Return the reasons of Ready that were given for a generation, each once in a row."""
        told = [each.reason for each in self.at(name, generation) if each.current]
        return [reason for before, reason in zip(["", *told], told, strict=False) if reason != before]

    def _watch(self) -> None:
        try:
            for _, server in self._api.watch("VLLMServer", self._namespace, seconds=600):
                if self._ended.is_set():
                    return
                state = state_of(server)
                seen = self._seen.setdefault(state.name, [])
                if state not in seen[-1:]:
                    seen.append(state)
        except Exception:
            # The cluster may go away under the watch; what was to be seen is asked for by the demo itself.
            if not self._ended.is_set():
                raise

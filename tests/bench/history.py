"""Every version that the API server held of every object of a kind, from a watch."""

import threading
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.harness.api import Api, Object, condition

WATCH_SECONDS = 1800


@dataclass(frozen=True, slots=True)
class Version:
    """One version of one object, and when the watch told of it (monotonic seconds)."""

    time: float
    resource_version: str
    generation: int
    status: Object

    def ready(self) -> bool:
        """Whether Ready is True at this very generation."""
        ready = condition({"status": self.status}, "Ready")
        return ready.get("status") == "True" and ready.get("observedGeneration") == self.generation


class History:
    """Collects versions, from now on; a context manager.

    A watch of the API server leaves nothing out: a write that changed something is one event.
    """

    def __init__(self, api: Api, kind: str, namespace: str):
        """Watch a kind in a namespace."""
        self._api = api
        self._kind = kind
        self._namespace = namespace
        self._lock = threading.Lock()
        self._closing = False
        self._failure: str | None = None
        self.versions: dict[str, list[Version]] = defaultdict(list)
        self.told: set[str] = set()
        """Objects that have ever had conditions."""
        self.ready: set[str] = set()
        """Objects whose latest version is Ready."""

    def __enter__(self) -> "History":
        """Start to watch; objects that are there come as their present version."""
        threading.Thread(target=self._watch, daemon=True).start()
        return self

    def __exit__(self, *_: Any) -> None:
        """Keep nothing more; the connection ends with the client or the cluster."""
        self._closing = True

    def wait(self, holds: Callable[[], bool], timeout: float, what: str) -> None:
        """Wait until something holds for what was seen; raise TimeoutError after `timeout` seconds."""
        deadline = time.monotonic() + timeout
        while True:
            # The watch's thread stamps each version with its time: looking seldom costs no accuracy.
            with self._lock:
                if holds():
                    return
            if self._failure or time.monotonic() > deadline:
                raise TimeoutError(f"{what}: {self._failure or f'not within {timeout:.0f} s'}")
            time.sleep(0.02)

    def _watch(self) -> None:
        since = None
        try:
            while not self._closing:
                # On a busy machine the server may end the watch of a slow reader: it goes on where it was.
                for kind, obj in self._api.watch(self._kind, self._namespace, WATCH_SECONDS, since):
                    if self._closing:
                        return
                    self._take(kind, obj)
                    since = obj["metadata"]["resourceVersion"]
        except Exception as error:
            self._failure = f"the watch has failed: {error}"

    def _take(self, kind: str, obj: Object) -> None:
        if kind == "ERROR":
            raise RuntimeError(str(obj))
        if kind not in ("ADDED", "MODIFIED"):
            return
        metadata = obj["metadata"]
        version = Version(
            time=time.monotonic(),
            resource_version=metadata["resourceVersion"],
            generation=metadata["generation"],
            status=obj.get("status") or {},
        )
        name = metadata["name"]
        with self._lock:
            self.versions[name].append(version)
            if version.status.get("conditions"):
                self.told.add(name)
            (self.ready.add if version.ready() else self.ready.discard)(name)

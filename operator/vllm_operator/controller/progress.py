"""Reads how far starts have come, from the last lines of their logs, seldom.

A termination message exists only at an end, and of a warm-up only the server's own lines tell. Reading logs
can be switched off, and then the right to do so is not needed (see docs/decisions/0008-progress.md).
"""

import logging
import time
from dataclasses import dataclass
from datetime import UTC, datetime

from vllm_operator.api.seen import PodFacts, Progress
from vllm_operator.controller.cluster import Cluster
from vllm_operator.controller.outcome import PASSING
from vllm_operator.controller.store import Key
from vllm_operator.status import progress

SECONDS = 20.0
"""Seconds between looks at one server, and so between status writes that only tell of progress."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Look:
    start: tuple[str, str]
    """uid of the pod, and since when its container runs: another start has a log of its own."""
    at: float
    found: Progress | None


class ProgressReader:
    """Remembers when it has looked at a server's log, and what it saw."""

    def __init__(self, cluster: Cluster, *, enabled: bool) -> None:
        self._cluster = cluster
        self._enabled = enabled
        self._looks: dict[Key, _Look] = {}

    def forget(self, key: Key) -> None:
        """Drop what is remembered of a server."""
        self._looks.pop(key, None)

    async def look(self, key: Key, pod: PodFacts | None) -> tuple[Progress | None, float | None]:
        """How far a pod's start has come, and in how many seconds to look again."""
        if pod is None or not self._enabled:
            self.forget(key)
            return None, None
        start, last = (pod.uid, pod.started_at), self._looks.get(key)
        if last is None or last.start != start:
            # A log that has just begun says nothing yet. One that is older we may have read before we were
            # started anew, and what the status says of it must not go and come back.
            found = await self._read(key, pod) if _age(pod) >= SECONDS else None
            last = _Look(start, time.monotonic(), found)
        elif time.monotonic() - last.at >= SECONDS:
            last = _Look(start, time.monotonic(), await self._read(key, pod) or last.found)
        self._looks[key] = last
        return last.found, max(0.1, last.at + SECONDS - time.monotonic())

    async def _read(self, key: Key, pod: PodFacts) -> Progress | None:
        try:
            return progress.read(await self._cluster.last_lines(key.namespace, pod.name, pod.container))
        except PASSING as error:
            # No right to it, or the container has ended: then what there is to say is in the pod's status.
            log.debug("%s/%s: no log of %s: %r", key.namespace, key.name, pod.name, error)
            return None


def _age(pod: PodFacts) -> float:
    return (datetime.now(UTC) - datetime.fromisoformat(pod.started_at)).total_seconds()

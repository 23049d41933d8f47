"""PodMonitors, of which a cluster may not even know the kind.

kopf never looks again for a kind that it did not find at its start, and does not get over the loss of one. So
these are not watched, but listed: once at the start, and after that only while a server asks for one. No
server waits for that: one that finds out first makes its PodMonitor, or is told that there is no kind. The
list also tells whether there is such a kind, by a 404 that a missing object cannot cause, and takes no right
that the PodMonitors themselves do not take.
"""

import asyncio
import contextlib
import logging
import random
import sys
import time
from collections.abc import Sequence

from vllm_operator.api.observed import POD_MONITOR
from vllm_operator.api.reasons import Reason
from vllm_operator.api.seen import Refusal
from vllm_operator.controller import handlers
from vllm_operator.controller.cluster import Cluster
from vllm_operator.controller.outcome import NO_POD_MONITOR, PASSING, ApiError
from vllm_operator.controller.store import Key
from vllm_operator.controller.workqueue import Priority

ROUND_SECONDS = 600.0
"""Seconds from one list to the next."""
MISSING_SECONDS = 60.0
"""The same while there can be none: somebody may just have installed the kind."""

log = logging.getLogger(__name__)


class Monitors:
    """Knows whether there can be PodMonitors, and which there are, for those who ask for one."""

    def __init__(self, cluster: Cluster, feed: handlers.Feed, namespaces: tuple[str, ...]) -> None:
        self._cluster = cluster
        self._feed = feed
        self.namespaces: Sequence[str | None] = namespaces or (None,)
        """Where they are looked for."""
        self._users: set[Key] = set()
        self._woken = asyncio.Event()
        self._known = False
        """Every namespace has been listed at least once."""
        self._trusted = False
        """Nothing speaks against what was found last."""
        self._looked_at = float("-inf")

    def note(self, key: Key, *, wanted: bool) -> None:
        """Note whether a server asks for one. Nobody waits for the list, which may hang or fail."""
        if not wanted:
            self._users.discard(key)
        elif key not in self._users:
            self._users.add(key)
            self._woken.set()

    def doubt(self) -> None:
        """Look before long, and do not trust what was found last: there was no such kind."""
        self._trusted = False
        self._woken.set()

    async def watch(self) -> None:
        """Look for what has changed, for ever."""
        await self._feed.listed.wait()
        while True:
            self._woken.clear()
            # The first time also for what an edit has made superfluous while no operator ran.
            if self._users or not self._known:
                await self.look()
            await self._rest(MISSING_SECONDS * random.uniform(0.5, 1.0))  # noqa: S311 - no secret

    async def _rest(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._woken.wait(), seconds)

    async def look(self) -> None:
        """List them, if it is time to. What cannot be listed stays as it was found last."""
        trusted = self._trusted and not self._feed.store.unmonitored
        if time.monotonic() - self._looked_at < (ROUND_SECONDS if trusted else MISSING_SECONDS / 2):
            return
        self._trusted = True
        failed = False
        for namespace in self.namespaces:
            try:
                await self._list(namespace)
            except PASSING as error:
                failed = True
                log.warning("cannot list PodMonitors: %s", error or type(error).__name__)
        self._known = self._known or not failed
        self._trusted = self._trusted and not failed
        self._looked_at = time.monotonic()

    async def _list(self, namespace: str | None) -> None:
        store, refusal = self._feed.store, None
        try:
            found, version = await self._cluster.objects(POD_MONITOR, namespace, handlers.SELECTOR)
        except ApiError as error:
            if error.status not in (403, 404):
                raise
            refusal, found, version = _refusal(error), [], sys.maxsize
        concerned = {store.see(POD_MONITOR, body) for body in found}
        uids = {body["metadata"]["uid"] for body in found}
        concerned |= set(store.sweep(POD_MONITOR, namespace, uids, version))
        if refusal != store.unmonitored.pop(namespace, None):
            log.info("PodMonitors: %s", refusal or "the kind is there")
            concerned |= {user for user in self._users if namespace in (None, user.namespace)}
        if refusal is not None:
            store.unmonitored[namespace] = refusal
        for key in concerned:
            if key is not None:
                self._feed.queue.add(key, Priority.RESYNC)


def _refusal(error: ApiError) -> Refusal:
    if error.status == 404:
        return NO_POD_MONITOR
    return Refusal(
        Reason.CHILD_REJECTED,
        f"The operator may not list PodMonitors: {error.message}. Give its role the rules of "
        "manifests/overlays/cluster-wide/rbac.yaml, or take spec.monitoring.podMonitor out. It is tried "
        "again every minute",
    )

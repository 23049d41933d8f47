"""PodMonitors, of which a cluster may not even know the kind.

kopf never looks again for a kind that it did not find at its start, and does not get over the loss of one. So
these are not watched, but listed: once at the start, and after that only while a server asks for one. The
list also tells whether there is such a kind, by a 404 that a missing object cannot cause, and takes no right
that the PodMonitors themselves do not take.
"""

import asyncio
import logging
import random
import sys
import time

from vllm_operator.api.observed import POD_MONITOR
from vllm_operator.api.reasons import Reason
from vllm_operator.api.seen import Refusal
from vllm_operator.controller import handlers
from vllm_operator.controller.cluster import Cluster
from vllm_operator.controller.outcome import PASSING, ApiError
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
        self._namespaces = namespaces or (None,)
        self._users: set[Key] = set()
        self._looking = asyncio.Lock()
        self._looked_at = float("-inf")

    async def note(self, key: Key, *, wanted: bool) -> None:
        """Note whether a server asks for one; for one that does, the store then says what there is.

        Raises ApiError, OSError or TimeoutError.
        """
        if not wanted:
            self._users.discard(key)
            return
        self._users.add(key)
        await self._look_if_due()

    def doubt(self) -> None:
        """Have the next who asks for one look, and not trust what was found last."""
        self._looked_at = float("-inf")

    async def watch(self) -> None:
        """Look for what has changed, for ever."""
        await self._feed.listed.wait()
        while True:
            # The first time also for what an edit has made superfluous while no operator ran.
            if self._users or self._looked_at == float("-inf"):
                try:
                    await self._look_if_due()
                except PASSING as error:
                    log.warning("cannot list PodMonitors: %s", error or type(error).__name__)
            await asyncio.sleep(MISSING_SECONDS * random.uniform(0.5, 1.0))  # noqa: S311 - no secret

    async def _look_if_due(self) -> None:
        async with self._looking:
            patience = MISSING_SECONDS / 2 if self._feed.store.unmonitored else ROUND_SECONDS
            if time.monotonic() - self._looked_at >= patience:
                await self._look()
                self._looked_at = time.monotonic()

    async def _look(self) -> None:
        store, queue = self._feed.store, self._feed.queue
        before, concerned = dict(store.unmonitored), set()
        for namespace in self._namespaces:
            try:
                found, version = await self._cluster.objects(POD_MONITOR, namespace, handlers.SELECTOR)
                store.unmonitored.pop(namespace, None)
            except ApiError as error:
                if error.status not in (403, 404):
                    raise
                store.unmonitored[namespace] = _refusal(error)
                found, version = [], sys.maxsize
            concerned |= {store.see(POD_MONITOR, body) for body in found}
            uids = {body["metadata"]["uid"] for body in found}
            concerned |= set(store.sweep(POD_MONITOR, namespace, uids, version))
        if store.unmonitored != before:
            log.info("PodMonitors: %s", [*store.unmonitored.values()] or "the kind is there")
            concerned |= self._users
        for key in concerned:
            if key is not None:
                queue.add(key, Priority.RESYNC)


def _refusal(error: ApiError) -> Refusal:
    if error.status == 404:
        return Refusal(
            Reason.POD_MONITOR_NOT_INSTALLED,
            "The cluster knows no PodMonitor (monitoring.coreos.com/v1): install the Prometheus Operator and "
            "its CRDs, or take spec.monitoring.podMonitor out. It is looked for every minute: "
            "`kubectl get crd podmonitors.monitoring.coreos.com`",
        )
    return Refusal(
        Reason.CHILD_REJECTED,
        f"The operator may not list PodMonitors: {error.message}. Give its role the rules of "
        "manifests/base/rbac.yaml, or take spec.monitoring.podMonitor out. It is tried again every minute",
    )

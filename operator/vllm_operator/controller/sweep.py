"""Sweeps ghosts: kopf lists again after a lost watch without telling what went in between."""

import asyncio
import logging
import random

from vllm_operator.controller import handlers
from vllm_operator.controller.cluster import Cluster
from vllm_operator.controller.outcome import PASSING
from vllm_operator.controller.workqueue import Priority

ROUND_SECONDS = 600.0
"""Seconds in which every kind is listed once; the lists of several operators and kinds are spread over it."""

log = logging.getLogger(__name__)


async def sweep(cluster: Cluster, feed: handlers.Feed, namespaces: tuple[str, ...]) -> None:
    """Compare the store with what there is, one kind after the other, for ever."""
    await feed.listed.wait()
    pause = ROUND_SECONDS / len(handlers.WATCHED)
    while True:
        for kind in handlers.WATCHED:
            await asyncio.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311 - no secret
            try:
                await sweep_kind(cluster, feed, namespaces, kind)
            except PASSING as error:
                log.warning("cannot list %s: %s", kind, error or type(error).__name__)


async def sweep_kind(cluster: Cluster, feed: handlers.Feed, namespaces: tuple[str, ...], kind: str) -> None:
    """Compare what is known of a kind with what there is. Raises ApiError."""
    selector = handlers.SELECTOR if kind in handlers.CHILDREN else ""
    for namespace in namespaces or (None,):
        uids, version = await cluster.uids(kind, namespace, selector)
        for key in feed.store.sweep(kind, namespace, uids, version):
            log.info("%s/%s: a %s was gone unseen", key.namespace, key.name, kind)
            feed.queue.add(key, Priority.RESYNC)

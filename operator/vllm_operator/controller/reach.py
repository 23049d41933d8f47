"""Which of the namespaces that are to be watched are open to the operator.

A namespace's Role and RoleBinding go with it, or are taken away by its team. kopf ends by a namespace that it
may not list, and with it the operator would end for all the others. So such a one is left out at the start,
and looked at again: once it is open, the operator starts anew.
"""

import asyncio
import logging
from collections.abc import Collection

from vllm_operator.controller import handlers
from vllm_operator.controller.cluster import Cluster
from vllm_operator.controller.outcome import PASSING, ApiError

LOOK_SECONDS = 30.0
"""Seconds between looks at namespaces that are closed."""

log = logging.getLogger(__name__)


async def closed(cluster: Cluster, namespaces: Collection[str]) -> dict[str, str]:
    """The namespaces in which something that is watched may not be listed, with the API server's words.

    Raises ApiError, OSError or TimeoutError where it cannot be told.
    """
    found = {}
    for namespace in namespaces:
        for kind in handlers.WATCHED:
            try:
                await cluster.try_list(kind, namespace)
            except ApiError as error:
                if error.status != 403:
                    raise
                found[namespace] = error.message
                break
    return found


async def opened(cluster: Cluster, shut: Collection[str]) -> None:
    """Return once one of the closed namespaces is open, and so never where none is closed."""
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        try:
            still = await closed(cluster, shut)
        except PASSING as error:
            log.warning("cannot look at closed namespaces: %s", error or type(error).__name__)
            continue
        if len(still) < len(shut):
            log.info("open by now: %s; starting anew to watch it", ", ".join(sorted({*shut} - {*still})))
            return

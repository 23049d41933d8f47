"""Puts the parts together, runs them, and ends them in order."""

import asyncio
import contextlib
import logging
import signal
import socket
import time
import uuid
from collections.abc import Collection

from vllm_operator.config import Settings
from vllm_operator.controller import handlers, reach, sockets
from vllm_operator.controller.children import Children
from vllm_operator.controller.cluster import Cluster
from vllm_operator.controller.connection import credentials, load_configuration, own_namespace
from vllm_operator.controller.health import Health
from vllm_operator.controller.leader import LEASE_SECONDS, TERM_SECONDS, Elector
from vllm_operator.controller.metrics import Metrics
from vllm_operator.controller.monitors import Monitors
from vllm_operator.controller.outcome import APPLY_CRDS, PASSING, ApiError
from vllm_operator.controller.prober import Prober
from vllm_operator.controller.progress import ProgressReader
from vllm_operator.controller.reconciler import Reconciler
from vllm_operator.controller.store import Key, Store
from vllm_operator.controller.sweep import sweep
from vllm_operator.controller.ties import Ties
from vllm_operator.controller.workqueue import Priority, WorkQueue

RETRY_SECONDS = 3.0
"""Seconds between looks at an API server that does not answer, or does not know our resources."""

POLL_SECONDS = 0.05
"""Seconds between looks at whether the store has everything, at the start only."""

END_SECONDS = 2.0
"""Seconds in which kopf is expected to end; it writes nothing, and with no network it may wait for it."""

log = logging.getLogger(__name__)


async def run(settings: Settings) -> int:
    """Run the operator until SIGTERM, SIGINT, a fault or the loss of its Lease. Returns the exit code."""
    metrics = Metrics()
    # Two doors: what asks for the Lease, and what is shut when it is not held.
    front = Cluster(await load_configuration(), metrics.requested)
    elector = Elector(front, settings.lease_namespace or own_namespace(), _identity())
    guarded = sockets.factory(elector.holds, LEASE_SECONDS - TERM_SECONDS)
    cluster = Cluster(await load_configuration(), metrics.requested, guarded)
    operator = Operator(settings, cluster, elector, metrics)
    _on_signals(operator.stopping)
    server = await operator.health.serve(settings.health_address, settings.health_port)
    try:
        if not await _served(front, operator.stopping) or not await _elected(elector, operator.stopping):
            return 0
        return await operator.reconcile()
    finally:
        await elector.release()
        await server.cleanup()
        await operator.cluster.close()
        await front.close()


class Operator:
    """All parts of one operator, and their order at the start and at the end."""

    def __init__(self, settings: Settings, cluster: Cluster, elector: Elector, metrics: Metrics) -> None:
        self.settings = settings
        self.namespaces = settings.namespaces
        self.metrics = metrics
        self.cluster = cluster
        self.elector = elector
        self.stopping = asyncio.Event()
        self.feed = handlers.Feed(Store(), WorkQueue[Key](), asyncio.Event(), set())
        metrics.look_at(self.feed.queue, self.feed.store, elector.holds)
        self.health = Health(self.feed.queue, self._ready, metrics)
        children = Children(self.feed.store, cluster, settings.defaults)
        queue = self.feed.queue
        ties = Ties(self.feed.store, settings.defaults, lambda key: queue.add(key, Priority.CHILD))
        self.monitors = Monitors(cluster, self.feed, settings.namespaces)
        self.prober = Prober(
            lambda key: queue.add(key, Priority.CHILD), enabled=settings.verify, proxy=settings.verify_proxy
        )
        self.reconciler = Reconciler(
            *(self.feed.store, cluster, children, ties),
            monitors=self.monitors,
            progress=ProgressReader(cluster, enabled=settings.read_logs),
            prober=self.prober,
            instance=socket.gethostname(),
            calibrated=metrics.calibrated,
        )

    async def reconcile(self) -> int:
        """Watch and reconcile, while the Lease is ours, until `stopping` is set or a part ends by a fault.

        Returns the exit code.
        """
        holder = asyncio.create_task(self.elector.hold())
        shut = await self._leave_out_closed()
        stop_watching = asyncio.Event()
        registry = handlers.registry(self.feed, credentials)
        watching = await handlers.start(registry, self.namespaces, stop_watching)
        _on_signals(self.stopping)  # kopf has put its own in their place
        watcher = asyncio.create_task(watching)
        listing = asyncio.create_task(self._list())
        workers = [asyncio.create_task(self._work(listing)) for _ in range(self.settings.workers)]
        workers.append(asyncio.create_task(self.monitors.watch()))
        workers.append(asyncio.create_task(sweep(self.cluster, self.feed, self.namespaces)))
        stopped = asyncio.create_task(self.stopping.wait())
        opened = asyncio.create_task(reach.opened(self.cluster, shut))
        log.info("watching %s", ", ".join(self.namespaces) or "all namespaces")
        parts = (holder, watcher, *workers)
        self.health.parts = parts
        await asyncio.wait({stopped, opened, *parts}, return_when=asyncio.FIRST_COMPLETED)
        self.stopping.set()
        failed = self._tell_faults(parts, opened)
        # Reconciling ends first, so that nothing is written on the word of a watch that has ended.
        ending = (*workers, listing, opened, holder)
        for task in ending:
            task.cancel()
        await asyncio.gather(*ending, return_exceptions=True)
        await self.elector.release()  # now, since another operator waits for it
        await self.prober.close()
        stop_watching.set()
        await asyncio.wait({watcher}, timeout=END_SECONDS)
        return 1 if failed else 0

    def _tell_faults(
        self, parts: Collection[asyncio.Task[None]], opened: asyncio.Task[None]
    ) -> list[asyncio.Task[None]]:
        """Tell what has ended by a fault: any of the parts, or the look at closed namespaces."""
        failed = [task for task in parts if task.done()]
        failed += [opened] if opened.done() and opened.exception() else []
        # What has failed shows in /healthz until the process has ended; an end that was asked for does not.
        self.health.parts = failed
        for task in failed:
            error = None if task.cancelled() else task.exception()
            log.error("a part of the operator has ended, and so it ends", exc_info=error)
        return failed

    async def _leave_out_closed(self) -> Collection[str]:
        """Watch only what is open. Returns what is not.

        Where nothing is open, or nobody can tell, all is watched as it was asked for, and kopf says why not.
        """
        try:
            shut = await reach.closed(self.cluster, self.namespaces)
        except PASSING as error:
            log.warning("cannot list: %s", error or type(error).__name__)
            return ()
        left = tuple(namespace for namespace in self.namespaces if namespace not in shut)
        if not left:
            return ()  # none at all would mean all that there are
        for namespace, words in shut.items():
            log.error("%s is left out until the operator may list what is in it: %s", namespace, words)
        self.namespaces = self.monitors.namespaces = left
        self.metrics.left_out(len(shut))
        return shut

    def _ready(self) -> bool:
        """A standby counts: a rollout of the operator waits until the new one is ready to take over."""
        if self.stopping.is_set():
            return False
        return self.elector.following or (self.elector.holds() and self.feed.listed.is_set())

    async def _list(self) -> None:
        """Wait until all that there is at the start is in the store.

        Whoever reconciled before would judge servers without their pods, and look for children one by one.
        """
        while not self.feed.listed.is_set():
            try:
                expected = await self._uids()
            except PASSING as error:
                log.warning("cannot list: %s", error or type(error).__name__)
                expected = {"unknown"}
            # What is deleted meanwhile never comes: so it is listed again after a while.
            for _ in range(int(RETRY_SECONDS / POLL_SECONDS)):
                if expected <= self.feed.seen:
                    # Or each server that asks for a PodMonitor would try to make it first.
                    await self.monitors.look()
                    self.feed.listed.set()
                    self.feed.seen.clear()
                    return
                await asyncio.sleep(POLL_SECONDS)

    async def _uids(self) -> set[str]:
        found = set()
        for kind in handlers.WATCHED:
            selector = handlers.SELECTOR if kind in handlers.CHILDREN else ""
            for namespace in self.namespaces or (None,):
                found |= (await self.cluster.uids(kind, namespace, selector))[0]
        return found

    async def _work(self, listing: asyncio.Task[None]) -> None:
        """Reconcile one key after the other. No fault of one key reaches another."""
        await listing
        queue = self.feed.queue
        while True:
            key = await queue.get()
            start, result = time.monotonic(), "error"
            try:
                again = await self.reconciler(key)
            except Exception as error:
                _failed(queue, key, error)
            else:
                queue.succeeded(key)
                queue.drop_timer(key)
                if again == 0:
                    queue.add(key, Priority.USER)
                elif again is not None:
                    queue.add_after(key, again)
                result = "done" if again is None else "waiting"
            finally:
                self.metrics.reconciled(key.kind, result, time.monotonic() - start)
                queue.done(key)


def _on_signals(stopping: asyncio.Event) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)


def _identity() -> str:
    """Who holds the Lease. A pod that starts again is another: the one before may still be ending."""
    return f"{socket.gethostname()}_{uuid.uuid4().hex[:8]}"


async def _elected(elector: Elector, stopping: asyncio.Event) -> bool:
    """Wait for the Lease. Returns False when the operator is to stop before."""
    acquiring = asyncio.create_task(elector.acquire())
    stopped = asyncio.create_task(stopping.wait())
    await asyncio.wait({acquiring, stopped}, return_when=asyncio.FIRST_COMPLETED)
    if not acquiring.done():
        acquiring.cancel()
        await asyncio.wait({acquiring})
        return False
    acquiring.result()
    return not stopping.is_set()


async def _served(cluster: Cluster, stopping: asyncio.Event) -> bool:
    """Wait for the API server and our CRDs: kopf would never look again for what it does not find.

    Returns False when the operator is to stop before.
    """
    while not stopping.is_set():
        try:
            if await cluster.served():
                return True
            log.warning("the CRDs are not installed: %s", APPLY_CRDS)
        except PASSING as error:
            log.warning("the API server does not answer: %s", error or type(error).__name__)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stopping.wait(), RETRY_SECONDS)
    return False


def _failed(queue: WorkQueue[Key], key: Key, error: Exception) -> None:
    least = error.retry_after if isinstance(error, ApiError) else 0.0
    delay = queue.retry(key, least)
    passing = isinstance(error, PASSING)
    log.warning(
        *("%s/%s: %s; again in %.1f s", key.namespace, key.name, error or type(error).__name__, delay),
        exc_info=None if passing else error,
    )

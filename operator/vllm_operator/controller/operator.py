"""Puts the parts together, runs them, and ends them in order."""

import asyncio
import logging
import signal
import socket
from collections.abc import Awaitable

from vllm_operator.config import Settings
from vllm_operator.controller import handlers
from vllm_operator.controller.children import Children
from vllm_operator.controller.cluster import Cluster, credentials, load_configuration
from vllm_operator.controller.health import Health
from vllm_operator.controller.outcome import ApiError
from vllm_operator.controller.reconciler import Reconciler
from vllm_operator.controller.store import Key, Store
from vllm_operator.controller.workqueue import Priority, WorkQueue
from vllm_operator.desired.records import Image

log = logging.getLogger(__name__)


async def run(settings: Settings) -> int:
    """Run the operator until SIGTERM, SIGINT or a fault. Returns the exit code."""
    store, queue, listed = Store(), WorkQueue[Key](), asyncio.Event()
    stopping, stop_watching = asyncio.Event(), asyncio.Event()
    cluster = Cluster(await load_configuration())
    children = Children(store, cluster, Image(settings.cpu_image, settings.cpu_engine))
    reconciler = Reconciler(store, cluster, children, socket.gethostname())
    tasks: set[asyncio.Task[None]] = set()
    health = Health(queue, lambda: bool(tasks) and not stopping.is_set())
    server = await health.serve(settings.health_address, settings.health_port)
    registry = handlers.registry(handlers.Feed(store, queue, listed), credentials)
    watching = await handlers.start(registry, settings.namespaces, stop_watching)
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    watcher = asyncio.ensure_future(_ended(watching))
    workers = [asyncio.create_task(_work(queue, reconciler, health, listed)) for _ in range(settings.workers)]
    tasks |= {watcher, *workers}
    log.info("watching %s", ", ".join(settings.namespaces) or "all namespaces")
    stopped = asyncio.create_task(stopping.wait())
    done, _ = await asyncio.wait({stopped, *tasks}, return_when=asyncio.FIRST_COMPLETED)
    stopping.set()
    code = 0
    for task in done - {stopped}:
        code = 1
        log.error("ends: a part of the operator has ended", exc_info=task.exception())
    # Reconciling ends first, so that nothing is written on the word of a watch that has ended.
    for worker in workers:
        worker.cancel()
    await asyncio.gather(*workers, return_exceptions=True)
    stop_watching.set()
    await asyncio.gather(watcher, return_exceptions=True)
    await server.cleanup()
    await cluster.close()
    return code


async def _ended(watching: Awaitable[None]) -> None:
    await watching


async def _work(queue: WorkQueue[Key], reconciler: Reconciler, health: Health, listed: asyncio.Event) -> None:
    """Reconcile one key after the other. No fault of one key reaches another."""
    await listed.wait()
    while True:
        key = await queue.get()
        try:
            again = await reconciler(key)
        except Exception as error:
            _failed(queue, key, error)
            health.reconciles.labels("retry").inc()
        else:
            queue.succeeded(key)
            queue.drop_timer(key)
            if again == 0:
                queue.add(key, Priority.USER)
            elif again is not None:
                queue.add_after(key, again)
            health.reconciles.labels("done" if again is None else "waiting").inc()
        finally:
            queue.done(key)


def _failed(queue: WorkQueue[Key], key: Key, error: Exception) -> None:
    least = error.retry_after if isinstance(error, ApiError) else 0.0
    delay = queue.retry(key, least)
    passing = isinstance(error, ApiError | TimeoutError | OSError)
    log.warning(
        *("%s/%s: %s; again in %.1f s", key.namespace, key.name, error or type(error).__name__, delay),
        exc_info=None if passing else error,
    )

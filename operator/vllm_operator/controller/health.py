"""Health and metrics over HTTP, for the kubelet and Prometheus."""

from collections.abc import Callable

from aiohttp import web
from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest

from vllm_operator.controller.store import Key
from vllm_operator.controller.workqueue import WorkQueue

STUCK_SECONDS = 300.0
"""A key that waits longer means that the workers are stuck."""


class Health:
    """Answers /healthz, /readyz and /metrics.

    `ready` says whether the operator reconciles, or stands by for the one that does.
    """

    def __init__(self, queue: WorkQueue[Key], ready: Callable[[], bool], leads: Callable[[], bool]) -> None:
        self._queue = queue
        self._ready = ready
        self._metrics = CollectorRegistry()
        self.reconciles = Counter(
            "vllm_operator_reconciles", "Reconciles by their result", ["result"], registry=self._metrics
        )
        depth = Gauge("vllm_operator_queue_depth", "Keys that wait for a worker", registry=self._metrics)
        depth.set_function(lambda: len(queue))
        oldest = Gauge(
            "vllm_operator_queue_oldest_seconds", "Age of the oldest waiting key", registry=self._metrics
        )
        oldest.set_function(queue.oldest_seconds)
        leader = Gauge("vllm_operator_leader", "1 where the Lease is held, else 0", registry=self._metrics)
        leader.set_function(leads)

    async def serve(self, address: str, port: int) -> web.AppRunner:
        """Start to answer. The caller ends it by the runner's `cleanup`."""
        app = web.Application()
        app.add_routes(
            [
                web.get("/healthz", self._healthz),
                web.get("/readyz", self._readyz),
                web.get("/metrics", self._metrics_page),
            ]
        )
        runner = web.AppRunner(app, access_log=None, handle_signals=False)
        await runner.setup()
        await web.TCPSite(runner, address, port).start()
        return runner

    async def _healthz(self, _: web.Request) -> web.Response:
        oldest = self._queue.oldest_seconds()
        if self._ready() and oldest > STUCK_SECONDS:
            return web.Response(status=503, text=f"the oldest key has waited {oldest:.0f} s\n")
        return web.Response(text="ok\n")

    async def _readyz(self, _: web.Request) -> web.Response:
        return web.Response(text="ok\n") if self._ready() else web.Response(status=503, text="not ready\n")

    async def _metrics_page(self, _: web.Request) -> web.Response:
        return web.Response(body=generate_latest(self._metrics), content_type="text/plain")

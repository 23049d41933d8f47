"""Health and metrics over HTTP, for the kubelet and Prometheus."""

import asyncio
from collections.abc import Callable, Collection

from aiohttp import web
from aiohttp.hdrs import CONTENT_TYPE
from prometheus_client import CONTENT_TYPE_LATEST

from vllm_operator.controller.metrics import Metrics
from vllm_operator.controller.store import Key
from vllm_operator.controller.workqueue import WorkQueue

STUCK_SECONDS = 300.0
"""A reconcile that takes longer never ends: each of its few requests has a time limit of 15 s."""

OLD_SECONDS = 900.0
"""A key that waits longer is not served any more. Ten thousand servers that are created at once keep a key
waiting for minutes, and a new start would only make that longer."""


class Health:
    """Answers /healthz, /readyz and /metrics.

    `ready` says whether the operator reconciles, or stands by for the one that does.
    """

    def __init__(self, queue: WorkQueue[Key], ready: Callable[[], bool], metrics: Metrics) -> None:
        self._queue = queue
        self._ready = ready
        self._metrics = metrics
        self.parts: Collection[asyncio.Task[None]] = ()
        """What must not end as long as the process is to live."""

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

    def trouble(self) -> str:
        """Why the process should be started anew; empty when all is well, as on a standby."""
        if any(part.done() for part in self.parts):
            return "a part of the operator has ended"
        active, oldest = self._queue.active_oldest_seconds(), self._queue.oldest_seconds()
        if active > STUCK_SECONDS:
            return f"a reconcile has been running for {active:.0f} s"
        # Until everything is listed, nobody takes a key.
        if oldest > OLD_SECONDS and self._ready():
            return f"the oldest key has waited {oldest:.0f} s"
        return ""

    async def _healthz(self, _: web.Request) -> web.Response:
        trouble = self.trouble()
        return web.Response(status=503 if trouble else 200, text=f"{trouble or 'ok'}\n")

    async def _readyz(self, _: web.Request) -> web.Response:
        return web.Response(text="ok\n") if self._ready() else web.Response(status=503, text="not ready\n")

    async def _metrics_page(self, _: web.Request) -> web.Response:
        return web.Response(body=self._metrics.page(), headers={CONTENT_TYPE: CONTENT_TYPE_LATEST})

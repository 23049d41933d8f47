"""The web server, and its end: nothing new after SIGTERM, and time for what runs."""

import asyncio
import logging
from types import FrameType

import uvicorn

from llm_microservice.app import application
from llm_microservice.connections import Connection, Connections, queue
from llm_microservice.life import Life
from llm_microservice.service import Service
from llm_microservice.settings import Settings

CLOSE_SECONDS = 3
"""Time for connections to close when nothing runs any more, and for events that say why a stream ended."""
log = logging.getLogger("llm_microservice")


class Server(uvicorn.Server):
    """A uvicorn that goes on listening while answers run after SIGTERM, to say that it takes no more."""

    def __init__(self, config: uvicorn.Config, life: Life, connections: Connections):
        """Make it inside the event loop."""
        super().__init__(config)
        self.server_state = connections
        self._life = life
        self._loop = asyncio.get_running_loop()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002 - uvicorn's
        """Begin to end; with a second signal, end."""
        if self._life.ending.is_set():
            self.should_exit = True
        else:
            self._loop.call_soon_threadsafe(self._life.ending.set)


async def serve(settings: Settings) -> None:
    """Serve until a signal has come and answers have ended, or have had their time."""
    service = Service.of(settings)
    config = uvicorn.Config(
        application(service),
        host=settings.address,
        port=settings.port,
        # Both are what is there without further packages; a stray one shall not replace them.
        http=Connection,
        loop="asyncio",
        lifespan="off",
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        backlog=queue(settings.max_concurrency),
        # Longer than proxies keep idle connections, so that it is they who close.
        timeout_keep_alive=75,
        timeout_graceful_shutdown=CLOSE_SECONDS,
    )
    server = Server(config, service.life, Connections(settings.max_concurrency))
    ending = asyncio.create_task(_end(server, service))
    try:
        await server.serve()
    finally:
        ending.cancel()
        await service.upstream.close()


async def _end(server: Server, service: Service) -> None:
    life = service.life
    await life.ending.wait()
    log.info("ending", extra={"fields": {"running": life.running, "grace": service.settings.grace}})
    if not await life.idle(service.settings.grace):
        log.warning("time is over", extra={"fields": {"running": life.running}})
        life.over.set()
        await life.idle(CLOSE_SECONDS)
    server.should_exit = True

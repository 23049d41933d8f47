"""The connections of clients: none may wait for ever, and no more are open than the process has files for."""

import asyncio
from typing import Any

from uvicorn import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

HEAD_SECONDS = 30.0
"""Time for the head of a request to be whole, from the first byte or the opening of the connection."""
SPARE = 64
"""Connections beside those of requests: probes, Prometheus, clients that are refused."""
READ_AT_ONCE = 16 * 1024
"""Bytes of a client that are read before others have their turn; as chunks of one byte they take some 20 ms.
asyncio reads 256 KiB."""
CLOSED_AT_ONCE = 16
"""How many make room together: to find the oldest takes a look at all of them."""
TURNS = 3
"""Turns of asyncio in which newcomers are taken before the first of them have closed others: it makes their
transports in the next turn, tells the protocol in the one after that, and then closes what this aborts."""


def queue(concurrency: int) -> int:
    """How many connections may wait to be taken; asyncio takes so many at once."""
    return concurrency + SPARE


def most_open(concurrency: int) -> int:
    """How many connections may be open: beside those of requests as many newcomers as are taken at once."""
    return concurrency + queue(concurrency)


def files(concurrency: int) -> int:
    """How many files may be open: connections, those just taken, those to vLLM, and some others."""
    return most_open(concurrency) + TURNS * queue(concurrency) + concurrency + SPARE


class Connections(ServerState):
    """What a server's connections share: how many of them there may be."""

    def __init__(self, concurrency: int):
        """Make room for so many requests."""
        super().__init__()
        self._most = most_open(concurrency)

    def make_room(self) -> None:
        """Close those on which no request is being answered, the oldest first, if there are too many.

        uvicorn's `limit_concurrency` would keep them open, and refuse requests and probes on all others.
        """
        if len(self.connections) <= self._most:
            return
        known = [each for each in self.connections if isinstance(each, Connection)]
        waiting = sorted((each for each in known if not each.answering), key=lambda each: each.since)
        for each in waiting[:CLOSED_AT_ONCE]:
            each.abort()


class Connection(H11Protocol):
    """uvicorn's, which bounds only how long a connection is idle between requests, with one limit more.

    Whoever has begun a request and does not go on is left: before its head is whole, and after an answer that
    did not wait for the end of its body. From the head to the answer the gate is there.
    """

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ):
        """As uvicorn makes it."""
        super().__init__(config, server_state, app_state, _loop)
        self.since = self.loop.time()
        """When it began to wait for a request."""
        self._patience: asyncio.TimerHandle | None = None

    @property
    def answering(self) -> bool:
        """Whether a request's head was read whole and its answer is not."""
        return self.cycle is not None and not self.cycle.response_complete and not self.transport.is_closing()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
        """Begin to wait for a request, in the place of another one's if need be."""
        super().connection_made(transport)
        transport.max_size = READ_AT_ONCE  # type: ignore[attr-defined]  # of asyncio's own loops, undocumented
        self._watch()
        if isinstance(self.server_state, Connections):
            self.server_state.make_room()

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        super().connection_lost(exc)
        self._calm()

    def data_received(self, data: bytes) -> None:
        """Read on."""
        super().data_received(data)
        if self.answering:
            self._calm()
        else:
            self._watch()

    def on_response_complete(self) -> None:
        """Wait for the next request; how long, uvicorn watches until its first byte."""
        self.since = self.loop.time()
        super().on_response_complete()

    def abort(self) -> None:
        """Close, whatever the client has left unread."""
        self.connections.discard(self)
        self.transport.abort()

    def _watch(self) -> None:
        if self._patience is None and not self.transport.is_closing():
            self._patience = self.loop.call_later(HEAD_SECONDS, self.abort)

    def _calm(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None

"""A wire to the API server that a test can cut; TLS passes through unseen."""

import asyncio
import contextlib
import threading
from typing import Any
from urllib.parse import urlsplit

_Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Wire:
    """A TCP relay on loopback, in a thread of its own; a context manager."""

    def __init__(self, target: str):
        """Plan a relay to the server of a URL."""
        parts = urlsplit(target)
        self._host, self._port = parts.hostname, parts.port
        self._started = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), name="wire")
        self._writers: set[asyncio.StreamWriter] = set()

    def __enter__(self) -> "Wire":
        """Start to relay."""
        self._thread.start()
        self._started.wait()
        return self

    def __exit__(self, *_: Any) -> None:
        """End all connections."""
        self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join()

    def cut(self, *, requests: bool = True) -> None:
        """Let no answers through, and no requests unless told so; nobody is told, connections stay open."""
        self._loop.call_soon_threadsafe(self._cut, requests)

    def mend(self) -> None:
        """Let everything through again; what was under way is lost, with its connection."""
        self._loop.call_soon_threadsafe(self._mend)

    def _cut(self, requests: bool) -> None:
        self._answers.clear()
        if requests:
            self._requests.clear()

    def _mend(self) -> None:
        for writer in self._writers:
            writer.transport.abort()
        self._requests.set()
        self._answers.set()

    async def _serve(self) -> None:
        self._loop, self._ended = asyncio.get_running_loop(), asyncio.Event()
        self._requests, self._answers = asyncio.Event(), asyncio.Event()
        self._requests.set()
        self._answers.set()
        server = await asyncio.start_server(self._relay, "127.0.0.1", 0)
        self.url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        self._started.set()
        await self._ended.wait()
        server.close()
        self._mend()

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            there = await asyncio.open_connection(self._host, self._port)
            ends = {writer, there[1]}
            self._writers |= ends
            try:
                await asyncio.gather(
                    self._pump((reader, there[1]), self._requests),
                    self._pump((there[0], writer), self._answers),
                )
            finally:
                self._writers -= ends
                for end in ends:
                    end.transport.abort()

    async def _pump(self, stream: _Stream, gate: asyncio.Event) -> None:
        source, sink = stream
        while data := await source.read(65536):
            await gate.wait()
            sink.write(data)
            await sink.drain()
        raise ConnectionAbortedError("one side has closed")

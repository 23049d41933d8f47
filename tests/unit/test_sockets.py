"""Sockets that are shut with the term of the Lease, under the client that uses them, on loopback."""

import asyncio
import io
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import ClientError, ClientSession, TCPConnector

from vllm_operator.controller import sockets


class Server:
    """Answers requests, and keeps what it was sent."""

    def __init__(self) -> None:
        self.received: list[bytes] = []
        self.port = 0

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            self.received.append(data)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[str]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        async with server:
            self.port = server.sockets[0].getsockname()[1]
            yield f"http://127.0.0.1:{self.port}"


async def test_nothing_is_sent_once_the_term_is_over() -> None:
    server, open_ = Server(), True
    connector = TCPConnector(socket_factory=sockets.factory(lambda: open_, 5))
    async with server.running() as url, ClientSession(connector=connector) as session:
        for _ in range(2):
            async with session.put(url, data=b"x") as answer:
                assert answer.status == 200
        received = len(b"".join(server.received))
        assert received
        open_ = False
        # First on the connection that is open, and then on a new one.
        for _ in range(2):
            with pytest.raises((ClientError, sockets.TermOverError)):
                async with session.put(url, data=b"late"):
                    pass
        await asyncio.sleep(0.05)
        assert len(b"".join(server.received)) == received


async def test_a_body_is_cut_off_in_its_middle() -> None:
    server, asked = Server(), 0

    def may_send() -> bool:
        nonlocal asked
        asked += 1
        return asked <= 1

    connector = TCPConnector(socket_factory=sockets.factory(may_send, 5))
    async with server.running() as url, ClientSession(connector=connector) as session:
        with pytest.raises((ClientError, sockets.TermOverError)):
            async with session.put(url, data=io.BytesIO(b"x" * 2**24)):
                pass
        await asyncio.sleep(0.05)
        assert len(b"".join(server.received)) < 2**24


async def test_data_that_does_not_arrive_is_dropped_by_the_kernel() -> None:
    made = sockets.factory(lambda: True, 5)((socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", ()))
    with made:
        assert made.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 5000

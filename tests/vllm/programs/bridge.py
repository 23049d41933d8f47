"""Lets a port of loopback reach a unix socket: PORT SOCKET.

For programs that cannot be told of a unix socket. Without anybody behind the socket connections end.
"""

import asyncio
import sys
from functools import partial

from tests.vllm.programs.proxy import pump


async def forward(path: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Connect a client to the socket."""
    try:
        far_reader, far_writer = await asyncio.open_unix_connection(path)
    except OSError:
        writer.close()
        return
    await asyncio.gather(pump(reader, far_writer), pump(far_reader, writer))
    for each in (writer, far_writer):
        each.close()


async def main(port: str, path: str) -> None:
    """Serve until killed."""
    server = await asyncio.start_server(partial(forward, path), "127.0.0.1", int(port))
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))

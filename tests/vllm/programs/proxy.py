"""Lets a unix socket reach a port of a network namespace: SOCKET ADDRESS PORT.

It is started inside the namespace, whose only interface is the loopback one, and gives that the address of
the pod: what listens on 127.0.0.1 alone is not to be reached, no more than in a cluster. Nothing outside can
reach either.
"""

import asyncio
import fcntl
import socket
import struct
import sys
from functools import partial

SIOCSIFADDR = 0x8916
"""linux/sockios.h: set the address of an interface."""


def add_address(address: str) -> None:
    """Give the loopback interface one more address."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        family_and_port = struct.pack("=HH", socket.AF_INET, 0)
        request = struct.pack("16s4s4s8x", b"lo:pod", family_and_port, socket.inet_aton(address))
        fcntl.ioctl(any_socket, SIOCSIFADDR, request)


async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    """Copy until the source ends, and hand its end on."""
    try:
        while data := await source.read(65536):
            sink.write(data)
            await sink.drain()
        sink.write_eof()
    except OSError:
        sink.close()


async def forward(
    address: str, port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    """Connect a client to the port; without anybody there its connection ends."""
    try:
        far_reader, far_writer = await asyncio.open_connection(address, port)
    except OSError:
        writer.close()
        return
    await asyncio.gather(pump(reader, far_writer), pump(far_reader, writer))
    for each in (writer, far_writer):
        each.close()


async def main(path: str, address: str, port: str) -> None:
    """Serve until killed."""
    add_address(address)
    server = await asyncio.start_unix_server(partial(forward, address, int(port)), path)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))

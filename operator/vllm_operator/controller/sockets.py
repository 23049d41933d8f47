"""Sockets that send nothing once the term of the Lease is over.

A look at the clock anywhere above them leaves room for a process that is paused between the look and the
write. Here both are one step.
"""

import socket
from collections.abc import Callable
from typing import Any

AddressInfo = tuple[Any, ...]
"""Family, type, protocol, canonical name and address, as `getaddrinfo` gives them."""


class TermOverError(ConnectionAbortedError):
    """Nothing may be sent any more."""


class _Socket(socket.socket):
    def __init__(self, address: AddressInfo, may_send: Callable[[], bool]) -> None:
        super().__init__(*address[:3])
        self._may_send = may_send

    def _check(self) -> None:
        if not self._may_send():
            raise TermOverError("the Lease is not held: nothing is sent")

    # asyncio sends by these two, by which one depends on Python's version.
    def send(self, *arguments: Any) -> int:
        self._check()
        return super().send(*arguments)

    def sendmsg(self, *arguments: Any) -> int:
        self._check()
        return super().sendmsg(*arguments)


def factory(may_send: Callable[[], bool], patience_seconds: float) -> Callable[[AddressInfo], socket.socket]:
    """A maker of sockets that ask `may_send` each time, as aiohttp takes it.

    What was sent and has not arrived after `patience_seconds` is dropped by the kernel, also when this
    process is paused or has ended: otherwise it would be sent again for minutes, until the network is back.
    """

    def make(address: AddressInfo) -> socket.socket:
        made = _Socket(address, may_send)
        if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(patience_seconds * 1000))
        return made

    return make

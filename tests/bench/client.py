"""A plain client that keeps many requests in flight, for storms and for the replay."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from tests.harness.api import APPLY_PATCH, Object, encode
from tests.harness.kinds import KINDS
from tests.harness.kubeconfig import read_kubeconfig

IN_FLIGHT = 32


@dataclass(frozen=True, slots=True)
class Call:
    """One request, written out beforehand."""

    method: str
    path: str
    content_type: str
    body: bytes


Chain = Sequence[Call]
"""Calls that go one after the other."""


def create(obj: Object) -> Call:
    """A POST of an object."""
    path = KINDS[obj["kind"]].path(obj["metadata"]["namespace"])
    return Call("POST", path, "application/json", encode(obj))


def apply(obj: Object, subresource: str | None = None, *, manager: str = "vllm-operator") -> Call:
    """A server-side apply, with the operator's own parameters; a status is applied with force."""
    metadata = obj["metadata"]
    path = KINDS[obj["kind"]].path(metadata["namespace"], metadata["name"], subresource)
    force = "true" if subresource else "false"
    query = f"fieldManager={manager}&force={force}&fieldValidation=Strict"
    return Call("PATCH", f"{path}?{query}", APPLY_PATCH, encode(obj))


def delete(obj: Object) -> Call:
    """A DELETE as the operator's, but for the uid, which nobody knows beforehand."""
    metadata = obj["metadata"]
    options = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background"}
    path = KINDS[obj["kind"]].path(metadata["namespace"], metadata["name"])
    return Call("DELETE", path, "application/json", encode(options))


def post_event(event: Object) -> Call:
    """A POST of an Event in its newer form."""
    path = f"/apis/events.k8s.io/v1/namespaces/{event['metadata']['namespace']}/events"
    return Call("POST", path, "application/json", encode(event))


def send(kubeconfig: Path, chains: Sequence[Chain], in_flight: int = IN_FLIGHT) -> list[float]:
    """Send chains, `in_flight` at once; return for each when its last answer came (monotonic seconds).

    Raises RuntimeError with the server's words when one is refused.
    """
    return asyncio.run(_send(kubeconfig, chains, in_flight))


async def _send(kubeconfig: Path, chains: Sequence[Chain], in_flight: int) -> list[float]:
    connection = read_kubeconfig(kubeconfig)
    connector = aiohttp.TCPConnector(limit=in_flight, ssl=connection.ssl_context())
    headers = {"Authorization": f"Bearer {connection.token}"} if connection.token else {}
    waiting = iter(enumerate(chains))
    ended = [0.0] * len(chains)
    async with aiohttp.ClientSession(connection.server, connector=connector, headers=headers) as session:

        async def work() -> None:
            for index, chain in waiting:
                for call in chain:
                    await _call(session, call)
                ended[index] = time.monotonic()

        await asyncio.gather(*(work() for _ in range(in_flight)))
    return ended


async def _call(session: aiohttp.ClientSession, call: Call) -> Any:
    headers = {"Content-Type": call.content_type}
    async with session.request(call.method, call.path, data=call.body, headers=headers) as answer:
        content = await answer.read()
        if answer.status >= 300:
            raise RuntimeError(f"{call.method} {call.path}: {answer.status} {content.decode()[:500]}")

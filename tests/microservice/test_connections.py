"""Clients that open connections and do not go on: others are answered all the same."""

import json
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

import httpx
import pytest

from tests.harness.processes import wait_until
from tests.microservice import crowd
from tests.microservice.program import Launch, Microservice, request
from tests.microservice.standin import StandIn
from tests.microservice.test_failures import FORMS

HEAD = b"POST /v1/chat/completions HTTP/1.1\r\nHost: it\r\nContent-Type: application/json\r\n"
HURRIED = """
import sys
from llm_microservice import connections
from llm_microservice.__main__ import main
connections.HEAD_SECONDS = 1
sys.exit(main())
"""

POOR = """
import resource, sys
from llm_microservice import connections
from llm_microservice.__main__ import main
resource.setrlimit(resource.RLIMIT_NOFILE, (connections.files(20),) * 2)
sys.exit(main())
"""
"""One that may have the files that 20 requests need, and no more."""
WATCHED = """
import logging, sys
from llm_microservice.__main__ import main
from llm_microservice.connections import READ_AT_ONCE, Connection
read = Connection.data_received
def noted(self, data):
    if len(data) > READ_AT_ONCE:
        logging.error("%d bytes at once", len(data))
    read(self, data)
Connection.data_received = noted
sys.exit(main())
"""
"""One that tells when it reads more at once than it should."""


@pytest.fixture(scope="module")
def hurried(launch: Launch, standin: StandIn) -> Microservice:
    """One that waits for a head for a second only."""
    return launch(standin.url, words=[sys.executable, "-c", HURRIED])


@contextmanager
def connected(service: Microservice, count: int) -> Iterator[list[socket.socket]]:
    """Open so many connections."""
    address = httpx.URL(service.url)
    with ExitStack() as opened:
        yield [
            opened.enter_context(socket.create_connection((address.host, address.port or 0), timeout=30))
            for _ in range(count)
        ]


def read_until(client: socket.socket, end: bytes, at_once: int = 65536) -> bytes:
    """Read until what came ends so. Raises AssertionError if the other side closes before."""
    text = b""
    while not text.endswith(end):
        piece = client.recv(at_once)
        assert piece, text
        text += piece
    return text


BEGINNINGS = {
    "nothing": (b"", 0),
    "half a head": (HEAD, 0),
    "half a head after a request": (b"GET /openapi.json HTTP/1.1\r\nHost: it\r\n\r\n" + HEAD, 200),
    "half a body that was refused": (HEAD + b"Content-Length: 999999999\r\n\r\nxxx", 413),
}


@pytest.mark.parametrize("name", BEGINNINGS)
def test_a_client_that_does_not_go_on_is_left(hurried: Microservice, name: str) -> None:
    begun, status = BEGINNINGS[name]
    with connected(hurried, 1) as (client,):
        if status:
            head, _, rest = begun.partition(b"\r\n\r\n")
            client.sendall(head + b"\r\n\r\n")
            assert client.recv(12) == f"HTTP/1.1 {status}".encode()
            client.sendall(rest)
        else:
            client.sendall(begun)
        # It would be a time-out if nobody closed.
        with suppress(ConnectionResetError):
            while client.recv(65536):
                pass


def test_a_client_that_waits_for_its_answer_is_not_left(hurried: Microservice) -> None:
    """Nor is one whose head comes in pieces, or that asks again on the same connection later."""
    script = {"before": 2, "tokens": 2, "size": 3}
    text = request(FORMS["openai"] | {"standin": script})
    with connected(hurried, 1) as (client,):
        for _ in range(2):
            client.sendall(text[:10])
            client.sendall(text[10:])
            assert read_until(client, crowd.END).count(b"xxx") == 2


def test_many_clients_that_do_not_go_on(launch: Launch, standin: StandIn) -> None:
    """Probes get through, running answers go on, and no newcomer is turned away."""
    words = [sys.executable, "-c", POOR]
    service = launch(standin.url, words=words, LLM_MICROSERVICE_MAX_CONCURRENCY="20")
    crowd.files_allowed(400)
    standin.hold.clear()
    body = FORMS["openai"] | {"standin": {"tokens": 4, "size": 3, "fault": "hold", "after": 1}}
    with ExitStack() as crowded, connected(service, 1) as (running,):
        running.sendall(request(body))
        wait_until(lambda: standin.running == 1, [service.process], 30, "it runs")
        for each in crowded.enter_context(connected(service, 600)):
            # Some have made room for others already.
            with suppress(OSError):
                each.sendall(HEAD)
        for _ in range(3):
            assert service.health().status_code == 200
        assert service.chat(FORMS["openai"]).status_code == 200
        standin.hold.set()
        assert read_until(running, crowd.END).count(b"xxx") == 4
    assert [line for line in service.log if line["level"] != "INFO"] == []


def test_a_request_in_small_chunks_keeps_nobody_waiting(launch: Launch, standin: StandIn) -> None:
    """Each chunk takes as long as a request of its own: others have their turn after some."""
    service = launch(standin.url, words=[sys.executable, "-c", WATCHED])
    head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: it\r\nTransfer-Encoding: chunked\r\n"
    body = json.dumps(FORMS["openai"] | {"user": "x" * 20_000}).encode()
    with connected(service, 1) as (client,):
        client.sendall(head + b"Content-Type: application/json\r\n\r\n")
        client.sendall(b"".join(b"1\r\n%c\r\n" % each for each in body) + b"0\r\n\r\n")
        assert b"[DONE]" in read_until(client, crowd.END)
    assert [line for line in service.log if line["level"] != "INFO"] == []

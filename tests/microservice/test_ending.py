"""SIGTERM: nothing new, and time for what runs."""

import json
import signal
import socket
from typing import Any

import httpx
import pytest

from tests.harness.processes import wait_until
from tests.microservice.program import Launch, Microservice, request
from tests.microservice.standin import StandIn
from tests.microservice.test_failures import FORMS, whole


def held(service: Microservice, standin: StandIn, body: dict[str, Any]) -> socket.socket:
    """Send a request that vLLM does not finish before `hold` is set."""
    standin.hold.clear()
    address = httpx.URL(service.url)
    client = socket.create_connection((address.host, address.port or 0), timeout=60)
    client.sendall(request(body))
    wait_until(lambda: standin.running == 1, [service.process], 30, "it runs")
    return client


def rest(client: socket.socket) -> bytes:
    """Read until the other side closes."""
    text = b""
    while piece := client.recv(65536):
        text += piece
    return text


def ended(service: Microservice) -> int | None:
    """Wait for its end; its exit code."""
    wait_until(lambda: not service.process.running, [], 30, "it has ended")
    return service.process.returncode


@pytest.mark.parametrize("streamed", [True, False])
def test_running_answers_end_and_nothing_new_begins(launch: Launch, standin: StandIn, streamed: bool) -> None:
    service = launch(standin.url)
    script = {"tokens": 4, "size": 3, "fault": "hold", "after": 1}
    body = FORMS["openai"] if streamed else whole(FORMS["openai"])
    with held(service, standin, body | {"standin": script}) as client:
        service.process.signal(signal.SIGTERM)
        wait_until(lambda: service.health().status_code == 503, [service.process], 30, "it says so")
        assert service.health().json()["detail"] == "this server is ending"
        refused = service.chat(FORMS["openai"])
        assert refused.status_code == 503
        assert (refused.headers["retry-after"], refused.headers["connection"]) == ("5", "close")
        assert service.process.running
        standin.hold.set()
        text = rest(client)
    assert text.count(b"xxx") == 4 if streamed else b"x" * 12 in text
    assert (b"data: [DONE]" in text) == streamed
    assert ended(service) == 0


def test_an_idle_server_ends_at_once(launch: Launch, standin: StandIn) -> None:
    service = launch(standin.url)
    with service.client() as client:
        # An idle connection holds nothing up.
        assert client.get("/v1/health_check").status_code == 200
        service.process.signal(signal.SIGTERM)
        assert ended(service) == 0


@pytest.mark.parametrize("streamed", [True, False])
def test_the_time_is_over(launch: Launch, standin: StandIn, streamed: bool) -> None:
    """Streams end with an event that says why, and vLLM stops."""
    service = launch(standin.url, LLM_MICROSERVICE_GRACE_SECONDS="1")
    body = FORMS["guide"] if streamed else whole(FORMS["guide"])
    script = {"fault": "hold", "after": 1} if streamed else {"before": 600}
    with held(service, standin, body | {"standin": script}) as client:
        service.process.signal(signal.SIGTERM)
        text = rest(client)
    assert b"its time is over" in text
    assert b"[DONE]" not in text
    assert text.startswith(b"HTTP/1.1 200" if streamed else b"HTTP/1.1 503")
    assert (b"event: error" in text) == streamed
    assert ended(service) == 0
    wait_until(lambda: standin.running == 0, [], 30, "vLLM has nothing to do")
    request_lines = [line for line in service.log if line["message"] == "request"]
    assert request_lines[-1].get("failure") == ("shutdown" if streamed else None)


def test_a_client_that_reads_nothing_does_not_hold_up_the_end(launch: Launch, standin: StandIn) -> None:
    service = launch(standin.url, LLM_MICROSERVICE_GRACE_SECONDS="1")
    with held(service, standin, FORMS["openai"] | {"standin": {"tokens": 1000, "size": 65536}}):
        service.process.signal(signal.SIGTERM)
        assert ended(service) == 0


def test_a_second_signal_does_not_wait(launch: Launch, standin: StandIn) -> None:
    service = launch(standin.url)
    with held(service, standin, FORMS["openai"] | {"standin": {"fault": "hold"}}):
        service.process.signal(signal.SIGTERM)
        wait_until(lambda: service.health().status_code == 503, [service.process], 30, "it says so")
        service.process.signal(signal.SIGTERM)
        assert ended(service) == 0


def test_a_stream_over_the_deletion_of_vllm(launch: Launch) -> None:
    """vLLM restarts behind a running microservice: one stream is lost and says so, and all goes on."""
    with StandIn() as standin:
        service = launch(standin.url)
        client = held(service, standin, FORMS["guide"] | {"standin": {"fault": "hold", "after": 1}})
        port = standin.port
    with client:
        text = b""
        while b"event: error" not in text:
            text += client.recv(65536)
    assert json.loads(text.split(b"event: error\ndata: ")[1].split(b"\n")[0])["error"]["code"] == 502
    with StandIn(port=port):
        assert service.chat(FORMS["guide"]).status_code == 200
        assert service.health().status_code == 200

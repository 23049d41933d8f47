"""Streams as they run: at once, no faster than the client, and no longer than it stays."""

import json
import socket
import threading
from typing import Any

import httpx
import pytest

from tests.bench.machine import resident_bytes
from tests.harness.processes import wait_until
from tests.microservice.program import Microservice, request
from tests.microservice.standin import StandIn
from tests.microservice.test_failures import FORMS, whole


@pytest.mark.parametrize("form", FORMS)
def test_a_token_is_there_before_the_next_is_made(service: Microservice, standin: StandIn, form: str) -> None:
    standin.hold.clear()
    body = FORMS[form] | {"standin": {"fault": "hold", "after": 1, "tokens": 2, "size": 3}}
    with service.client() as client, client.stream("POST", "/v1/chat/completions", json=body) as answer:
        lines = answer.iter_lines()
        # vLLM makes no second token before somebody has seen the first.
        assert any("xxx" in line for line in lines)
        standin.hold.set()
        rest = list(lines)
    assert sum("xxx" in line for line in rest) == 1
    assert "data: [DONE]" in rest


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("streamed", [True, False])
def test_a_client_that_leaves(service: Microservice, standin: StandIn, form: str, streamed: bool) -> None:
    """It stops vLLM's work, whether its answer has begun or not."""
    body = FORMS[form] if streamed else whole(FORMS[form])
    script = {"tokens": 100_000, "delay": 0.01} if streamed else {"before": 600}
    sample = 'llm_microservice_stream_failures_total{reason="client"}'
    before = service.metric(sample)
    address = httpx.URL(service.url)
    with socket.create_connection((address.host, address.port or 0)) as client:
        client.sendall(request(body | {"standin": script}))
        wait_until(lambda: standin.running == 1, [service.process], 30, "it runs")
        if streamed:
            assert client.recv(1000).startswith(b"HTTP/1.1 200")
    wait_until(lambda: standin.running == 0, [service.process], 30, "vLLM has nothing to do")
    wait_until(lambda: service.metric("llm_microservice_requests_running") == 0, [], 30, "nothing runs")
    assert service.metric(sample) == before + streamed
    assert service.log[-1]["code"] == (200 if streamed else 499)


@pytest.mark.parametrize("form", FORMS)
def test_a_slow_reader_slows_vllm_down(service: Microservice, standin: StandIn, form: str) -> None:
    """What it does not read stays unmade: nothing of 64 MB piles up in between."""
    tokens, size = 1000, 65536
    body = FORMS[form] | {"standin": {"tokens": tokens, "size": size}}
    before, written = resident_bytes(service.process.pid), standin.written
    stands: list[int] = []

    def stands_still() -> bool:
        stands.append(standin.written)
        return len(stands) > 20 and stands[-1] == stands[-20] > written

    with service.client() as client, client.stream("POST", "/v1/chat/completions", json=body) as answer:
        wait_until(stands_still, [service.process], 60, "vLLM waits")
        # What lies in the sockets of three processes.
        assert standin.written - written < 32 * 1024**2
        assert resident_bytes(service.process.pid) - before < 16 * 1024**2
        got = sum("x" * size in line for line in answer.iter_lines())
    assert got == tokens


def test_it_runs_as_many_as_there_are(service: Microservice, standin: StandIn) -> None:
    """Streams side by side, each with all of its own tokens."""
    standin.hold.clear()
    count = 50
    got: list[Any] = [None] * count

    def read(index: int) -> None:
        script = {"tokens": 20, "size": index + 1, "fault": "hold", "after": 10}
        answer = service.chat(FORMS["openai"] | {"standin": script})
        said = [line.removeprefix("data: ") for line in answer.text.splitlines() if line]
        *chunks, done = said
        texts = [json.loads(chunk)["choices"][0]["delta"]["content"] for chunk in chunks]
        got[index] = (texts[1:] == ["x" * (index + 1)] * 20, done)

    threads = [threading.Thread(target=read, args=(index,)) for index in range(count)]
    for thread in threads:
        thread.start()
    wait_until(lambda: standin.running == count, [service.process], 60, "all run")
    standin.hold.set()
    for thread in threads:
        thread.join()
    assert got == [(True, "[DONE]")] * count

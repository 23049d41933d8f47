"""Large requests: how much of them is held at the same time is bounded, however many there are."""

import json
import re
import socket
from contextlib import ExitStack
from typing import Any

import httpx
import pytest

from llm_microservice.forms import MOST_MESSAGES, MOST_VALUES
from tests.bench.machine import resident_bytes
from tests.harness.processes import wait_until
from tests.microservice.crowd import peak_bytes
from tests.microservice.program import Launch, Microservice, request
from tests.microservice.standin import StandIn
from tests.microservice.test_connections import connected, read_until
from tests.microservice.test_failures import FORMS

MIB = 1024**2
REFUSED = 'llm_microservice_requests_total{code="429",form="none"}'


@pytest.fixture
def small(launch: Launch, standin: StandIn) -> Microservice:
    """One with room for eight of its largest requests."""
    own = "LLM_MICROSERVICE_MAX"
    return launch(standin.url, **{f"{own}_BODY_BYTES": str(MIB), f"{own}_BUFFERED_BYTES": str(8 * MIB)})


def large(script: dict[str, Any], form: str = "openai", **more: Any) -> bytes:
    """A request of nearly 1 MiB."""
    text = "x" * (MIB - 500)
    prompt: dict[str, dict[str, Any]] = {
        "guide": {"messages": {"user": text}},
        "query": {"query": text},
        "openai": {"messages": [{"role": "user", "content": text}]},
    }
    return request(FORMS[form] | prompt[form] | more | {"standin": script})


def test_many_large_requests_that_are_not_whole(small: Microservice, standin: StandIn) -> None:
    before, count, text = resident_bytes(small.process.pid), 100, large({})
    with connected(small, count) as clients:
        for client in clients:
            client.sendall(text[:-1])
        # Those that found no room are told, and what they still send is not kept.
        wait_until(lambda: small.metric(REFUSED) >= count - 8, [small.process], 30, "most are refused")
        assert resident_bytes(small.process.pid) - before < 32 * MIB
        assert small.health().status_code == 200
        running = int(small.metric("llm_microservice_requests_running"))
        assert 0 < running <= 8
        answers = [answered(client, text[-1:]) for client in clients]
    told = [answer for answer in answers if answer.startswith(b"HTTP/1.1 429")]
    assert (len(told), len(answers) - len(told)) == (count - running, running)
    assert b"\r\nretry-after: 1\r\n" in told[0].lower()
    assert b"LLM_MICROSERVICE_MAX_BUFFERED_BYTES" in told[0]
    assert small.chat(FORMS["openai"]).status_code == 200


def answered(client: socket.socket, last: bytes) -> bytes:
    """The answer after the last byte of a request."""
    client.sendall(last)
    head = read_until(client, b"\r\n\r\n", at_once=1)
    length = re.search(rb"content-length: (\d+)", head.lower())
    return head + (client.recv(int(length[1]), socket.MSG_WAITALL) if length else b"")


@pytest.mark.parametrize("form", FORMS)
def test_requests_that_vllm_has_are_held_no_more(small: Microservice, standin: StandIn, form: str) -> None:
    with ExitStack() as opened:
        clients: list[socket.socket] = []
        rest = 0
        for _ in range(40):
            clients.extend(opened.enter_context(connected(small, 1)))
            clients[-1].sendall(large({"before": 600}, form))
            wait_until(lambda: standin.running == len(clients), [small.process], 30, "it waits")
            rest = rest or resident_bytes(small.process.pid)
        assert resident_bytes(small.process.pid) - rest < 16 * MIB
        assert len(json.dumps(standin.seen[-1])) > MIB - 500
    wait_until(lambda: standin.running == 0, [small.process], 30, "they have left")


def test_what_a_document_repeats_is_held(small: Microservice, standin: StandIn) -> None:
    """The guide's holds the prompt, which counts until the answer is there or the client has left."""
    with connected(small, 8) as clients:
        for client in clients:
            client.sendall(large({"before": 600}, "guide", streaming=False))
        wait_until(lambda: standin.running == 8, [small.process], 30, "all wait")
        assert refused(small)
    wait_until(lambda: standin.running == 0, [small.process], 30, "they have left")
    assert not refused(small)


def refused(service: Microservice) -> bool:
    """Whether there is no room for one more."""
    with connected(service, 1) as (client,):
        client.sendall(large({}))
        answer = read_until(client, b"\r\n\r\n", at_once=1)
    assert answer.startswith((b"HTTP/1.1 200", b"HTTP/1.1 429")), answer
    return answer.startswith(b"HTTP/1.1 429")


COSTLY = {
    "no messages": ('{"messages":[', "5", "]}"),
    "messages without a role": ('{"messages":[', '{"rol":""}', "]}"),
    "empty messages": ('{"messages":[', '{"role":""}', "]}"),
    "contents": ('{"messages":[{"role":"user","content":[', "[]", "]}]}"),
    "another field": ('{"messages":{"user":"Who?"},"tools":[', "[]", "]}"),
    "what comes back": ('{"messages":{"user":"Who?"},"output_guardrail_params":[', "[]", "]}"),
    "other fields": ('{"messages":{"user":"Who?"}', ',"x":0', "}"),
    "no object": ("[", "[]", "]"),
    "no end": ("[", "[", ""),
}


def filled(start: str, value: str, end: str) -> bytes:
    """JSON of nearly 4 MiB, which is as large as may be, with as many of these values as fit."""
    between = "" if value in "[" or value.startswith(",") else ","
    count = (4 * MIB - 100) // len(value + between)
    return (start + between.join([value] * count) + end).encode()


def test_large_requests_that_are_costly_to_read(launch: Launch, standin: StandIn) -> None:
    """Of one such the process once took 3.3 GB, and told in 285 MB what was wrong with it."""
    service, seen = launch(standin.url), len(standin.seen)
    for name, parts in COSTLY.items():
        answer = posted(service, filled(*parts))
        assert (answer.status_code, answer.json()["error"]["type"]) == (413, "ContentTooLargeError"), name
        assert len(answer.content) < 1000, name
        assert peak_bytes(service.process.pid) < 160 * MIB, name
    assert len(standin.seen) == seen


def posted(service: Microservice, body: bytes) -> httpx.Response:
    """The answer to this body."""
    with service.client() as client:
        headers = {"Content-Type": "application/json"}
        return client.post("/v1/chat/completions", content=body, headers=headers)


def test_the_most_messages(service: Microservice, standin: StandIn) -> None:
    message = {"role": "user", "content": "Who?"}
    assert service.chat({"messages": [message] * MOST_MESSAGES}).status_code == 200
    assert standin.seen[-1]["messages"] == [message] * MOST_MESSAGES
    answer = service.chat({"messages": [message] * (MOST_MESSAGES + 1)})
    assert (answer.status_code, answer.json()["error"]["param"]) == (422, "messages")
    assert f"at most {MOST_MESSAGES} items" in answer.json()["error"]["message"]


def test_of_wrong_messages_the_first_is_told(service: Microservice) -> None:
    answer = service.chat({"messages": [{"rol": "user"}] * MOST_MESSAGES})
    (told,) = answer.json()["detail"]
    assert (answer.status_code, told["loc"]) == (422, ["body", "messages", 0, "role"])


def test_the_most_values(service: Microservice, standin: StandIn) -> None:
    """Members of objects and of lists count, and nothing within a text."""
    message, stop = {"role": "user", "content": 'Who? "1,2,[{\\' * 10_000}, ["\\", '"', ",", ""]
    body = {"messages": [message], "stop": stop}
    more = MOST_VALUES - len(["messages", "stop", "seed"]) - len([message]) - len(message) - len(stop)
    assert service.chat(body | {"seed": [0] * more}).status_code == 200
    assert standin.seen[-1]["messages"] == [message]
    answer = service.chat(body | {"seed": [0] * (more + 1)})
    assert (answer.status_code, answer.json()["error"]["type"]) == (413, "ContentTooLargeError")
    assert f"more than {MOST_VALUES} values" in answer.json()["detail"]

"""Every way in which there is no answer, or only half of one."""

import json
import socket
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.harness.processes import free_ports, wait_until
from tests.microservice.program import Launch, Microservice, events, request
from tests.microservice.standin import MODEL, REFUSED, TEXT, StandIn

PAIR = {"system": "", "user": "Who?"}
USER = [{"role": "user", "content": "Who?"}]
FORMS: dict[str, dict[str, Any]] = {
    "guide": {"messages": PAIR, "streaming": True},
    "query": {"query": "Who?", "streaming": True},
    "openai": {"messages": USER, "stream": True},
}


@pytest.fixture(scope="module")
def hasty(launch: Launch, standin: StandIn) -> Microservice:
    """One with little patience and little room."""
    return launch(
        standin.url,
        LLM_MICROSERVICE_READ_TIMEOUT_SECONDS="1",
        LLM_MICROSERVICE_MAX_CONCURRENCY="2",
        LLM_MICROSERVICE_MAX_BODY_BYTES="2000",
    )


def whole(body: dict[str, Any]) -> dict[str, Any]:
    """The same request, for a document."""
    return {name: value for name, value in body.items() if name not in ("stream", "streaming")} | {
        "stream": False
    }


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("streamed", [True, False])
def test_an_unknown_model(service: Microservice, form: str, streamed: bool) -> None:
    body = FORMS[form] if streamed else whole(FORMS[form])
    answer = service.chat(body | {"model": "nobody/nothing"})
    message = f"The model `nobody/nothing` does not exist. Valid aliases: {MODEL}."
    error = {"message": message, "type": "NotFoundError", "param": "model", "code": 404}
    assert (answer.status_code, answer.json()) == (404, {"error": error, "detail": message})


def test_what_vllm_refuses_keeps_its_status(service: Microservice) -> None:
    answer = service.chat(FORMS["guide"] | {"max_new_tokens": 5000})
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "max_tokens"


@pytest.mark.parametrize(
    ("fault", "status", "patience"),
    [(429, 429, None), (500, 502, None), (503, 503, "5"), ("redirect", 502, None), ("no stream", 502, None)],
)
def test_other_answers_of_vllm(
    service: Microservice, fault: int | str, status: int, patience: str | None
) -> None:
    answer = service.chat(FORMS["openai"] | {"standin": {"fault": fault}})
    assert answer.status_code == status
    assert answer.headers.get("retry-after") == patience
    assert answer.json()["error"]["code"] == status


@pytest.mark.parametrize("fault", ["break", "gibberish", "deep"])
def test_no_document_of_it(service: Microservice, fault: str) -> None:
    assert service.chat(whole(FORMS["guide"]) | {"standin": {"fault": fault}}).status_code == 502


@pytest.mark.parametrize("form", FORMS)
def test_vllm_refuses_once_its_stream_has_begun(launch: Launch, standin: StandIn, form: str) -> None:
    """Its status is 200 by then. It is no fault of vLLM: its health is believed on."""
    service = launch(standin.url, LLM_MICROSERVICE_HEALTH_CACHE_SECONDS="600")
    assert service.health().status_code == 200
    looks = standin.looks
    answer = service.chat(FORMS[form] | {"standin": {"fault": "refused at once"}})
    assert (answer.status_code, answer.json()) == (400, REFUSED | {"detail": REFUSED["error"]["message"]})
    # Too late for a status.
    answer = service.chat(FORMS[form] | {"standin": {"fault": "refused", "after": 2}})
    assert answer.status_code == 200
    word, _, said = events(answer.text)[-1].partition("\ndata: ")
    assert (word, json.loads(said)["error"]) == ("event: error", REFUSED["error"])
    assert service.metric('llm_microservice_stream_failures_total{reason="refused"}') == 1
    no_fault = [(400, "INFO"), (200, "INFO")]
    wait_until(lambda: noted(service) == no_fault, [], 30, "both are noted, as no fault")
    assert service.health().status_code == 200
    assert standin.looks == looks


def test_vllm_is_not_there_yet_and_comes(launch: Launch) -> None:
    (port,) = free_ports(1)
    early = launch(f"http://127.0.0.1:{port}")
    for _ in range(2):
        answer = early.chat(FORMS["guide"])
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
        assert answer.json()["detail"].startswith("vLLM cannot be reached")
        assert early.health().status_code == 503
    with StandIn(port=port):
        # At once: what is bad is asked again each time.
        assert early.health().status_code == 200
        assert early.chat(FORMS["guide"]).status_code == 200
    assert early.chat(FORMS["guide"]).status_code == 503
    assert early.health().status_code == 503
    with StandIn(port=port):
        assert early.chat(FORMS["guide"]).status_code == 200


@pytest.mark.parametrize("streamed", [True, False])
def test_vllm_says_nothing(hasty: Microservice, streamed: bool) -> None:
    body = FORMS["guide"] if streamed else whole(FORMS["guide"])
    answer = hasty.chat(body | {"standin": {"before": 30}})
    assert (answer.status_code, answer.json()["error"]["type"]) == (504, "GatewayTimeoutError")


def noted(service: Microservice) -> list[tuple[int, str]]:
    """Status and level of each request in the log."""
    return [(line["code"], line["level"]) for line in service.log if line["message"] == "request"]


FAULTS = {
    "break": "upstream",
    "error": "upstream",
    "gibberish": "upstream",
    "deep": "upstream",
    "endless": "upstream",
    "silence": "timeout",
    "short": "upstream",
}


# OpenAI's words pass unread.
BREAKS = [(form, fault) for form in FORMS for fault in FAULTS if (form, fault) != ("openai", "gibberish")]


@pytest.mark.parametrize(("form", "fault"), BREAKS)
def test_a_stream_breaks(hasty: Microservice, standin: StandIn, form: str, fault: str) -> None:
    sample = f'llm_microservice_stream_failures_total{{reason="{FAULTS[fault]}"}}'
    before = hasty.metric(sample)
    answer = hasty.chat(FORMS[form] | {"standin": {"fault": fault, "after": 2}})
    assert answer.status_code == 200
    *tokens, last = events(answer.text)
    assert "[DONE]" not in answer.text
    # What came before is there, and nothing of an event that was not whole.
    assert len(tokens) == (3 if form == "openai" else 2)
    word, _, said = last.partition("\ndata: ")
    assert word == "event: error"
    assert json.loads(said)["error"]["message"]
    wait_until(lambda: hasty.metric(sample) == before + 1, [], 30, "it is counted")
    wait_until(lambda: standin.running == 0, [], 30, "vLLM has nothing to do")


def test_a_request_that_is_too_large(hasty: Microservice, standin: StandIn) -> None:
    before = len(standin.seen)
    large = FORMS["guide"] | {"query": None, "more": "x" * 2000}

    def pieces() -> Iterator[bytes]:
        text = json.dumps(large).encode()
        yield from (text[at : at + 100] for at in range(0, len(text), 100))

    headers = {"Content-Type": "application/json"}
    with hasty.client() as client:
        assert client.post("/v1/chat/completions", json=large).status_code == 413
        # Without a length beforehand.
        answer = client.post("/v1/chat/completions", content=pieces(), headers=headers)
        assert (answer.status_code, answer.json()["error"]["code"]) == (413, 413)
        # The connection and the places are free.
        assert client.post("/v1/chat/completions", json=FORMS["guide"]).status_code == 200
    assert len(standin.seen) == before + 1


def test_too_many_requests(launch: Launch, standin: StandIn) -> None:
    small = launch(standin.url, LLM_MICROSERVICE_MAX_CONCURRENCY="2")
    standin.hold.clear()
    held = FORMS["openai"] | {"standin": {"fault": "hold"}}
    address = httpx.URL(small.url)
    sockets = [socket.create_connection((address.host, address.port or 0)) for _ in range(2)]
    try:
        for each in sockets:
            each.sendall(request(held))
        wait_until(lambda: standin.running == 2, [small.process], 30, "both run")
        answer = small.chat(FORMS["openai"])
        assert (answer.status_code, answer.headers["retry-after"]) == (429, "1")
        # Probes and Prometheus are no requests.
        assert small.health().status_code == 200
        assert small.metric("llm_microservice_requests_running") == 2
    finally:
        for each in sockets:
            each.close()
    wait_until(lambda: small.metric("llm_microservice_requests_running") == 0, [], 30, "both are gone")
    wait_until(lambda: standin.running == 0, [], 30, "vLLM has nothing to do")
    assert small.chat(FORMS["openai"]).status_code == 200


def test_counts_and_log(hasty: Microservice, standin: StandIn) -> None:
    counted = 'llm_microservice_requests_total{code="404",form="guide"}'
    before = hasty.metric(counted), len(hasty.log)
    secret = "a prompt that nobody else may read"
    hasty.chat({"query": secret, "model": f"{MODEL}x", "streaming": False})
    hasty.chat({"query": secret})
    wait_until(lambda: len(hasty.log) == before[1] + 2, [], 30, "both are noted")
    assert hasty.metric(counted) == before[0] + 1
    assert hasty.metric('llm_microservice_time_to_first_event_seconds_count{form="guide"}') >= 1
    first, second = hasty.log[before[1] :]
    assert (first["message"], first["form"], first["code"], first["stream"]) == (
        "request",
        "guide",
        404,
        False,
    )
    assert (second["code"], second["stream"], second["level"]) == (200, True, "INFO")
    text = hasty.process.log.read_text()
    assert secret not in text
    assert not [token for token in TEXT[:2] if token in text]

"""What the operator says of a real vLLM that it asks as a client would, and what a key opens."""

import re
from collections.abc import AsyncIterator, Callable, Iterator

import httpx
import pytest

from tests.harness.processes import free_ports
from tests.vllm.cases import MODEL, Case
from tests.vllm.pod import Pod
from tests.vllm.service import bridged
from vllm_operator.api.seen import Question
from vllm_operator.controller import probe

Start = Callable[[Case], Pod]
KEY = "k-5f2c1d"
NAMES = {"model": {"name": MODEL, "servedNames": ["tiny", "tiny-too"], "offline": True}}
EAGER = {"engineArgs": {"maxNumSeqs": 4, "enforceEager": True}}
OPEN = Case("open", {**NAMES, **EAGER})
LOCKED = Case(
    "locked",
    {**NAMES, **EAGER, "apiKeySecretRef": {"name": "callers", "key": "of-all"}},
    secrets={"callers": {"of-all": KEY}},
)


@pytest.fixture
async def asking() -> AsyncIterator[httpx.AsyncClient]:
    async with probe.client() as client:
        yield client


@pytest.fixture(scope="module")
def locked(start: Start) -> Iterator[Pod]:
    """A server with a key, ready by its rendered probes, which have none."""
    with start(LOCKED) as pod:
        pod.wait_ready()
        yield pod


@pytest.mark.parametrize(
    ("path", "without", "wrong", "right"),
    [
        ("/health", 200, 200, 200),
        ("/v1/models", 401, 401, 200),
        ("/metrics", 200, 200, 200),
        ("/version", 200, 200, 200),
    ],
)
def test_what_a_key_opens(locked: Pod, path: str, without: int, wrong: int, right: int) -> None:
    """Probes and Prometheus have no key, and need none."""
    with locked.client() as client:
        headers: list[dict[str, str]] = [
            {},
            {"Authorization": f"Bearer {KEY}x"},
            {"Authorization": f"Bearer {KEY}"},
        ]
        said = [client.get(path, headers=each).status_code for each in headers]
    assert said == [without, wrong, right]


@pytest.mark.parametrize("path", ["/tokenize", "/invocations"])
def test_what_a_key_does_not_close(locked: Pod, path: str) -> None:
    """The page on hardening says so, and what closes it."""
    body = {"model": "tiny", "prompt": "Hello", "max_tokens": 1}
    with locked.client() as client:
        assert client.post(path, json=body).status_code == 200
        assert client.post("/v1/completions", json=body).status_code == 401


def test_the_key_is_never_logged(locked: Pod) -> None:
    assert "Application startup complete" in locked.log
    assert KEY not in locked.log


async def test_a_server_with_a_key_is_alive(locked: Pod, asking: httpx.AsyncClient) -> None:
    (port,) = free_ports(1)
    with bridged(port, locked):
        answer = await probe.ask(asking, Question(f"http://127.0.0.1:{port}", "tiny", "r"))
    assert answer.reason == "KeyRequired"
    assert "/v1/models asks for an API key (401)" in answer.detail


async def test_a_server_is_asked_while_it_is_there_and_after(start: Start, asking: httpx.AsyncClient) -> None:
    (port,) = free_ports(1)
    url = f"http://127.0.0.1:{port}"
    with start(OPEN) as pod:
        pod.wait_ready()
        with bridged(port, pod):
            for name in ("tiny", "tiny-too"):
                answer = await probe.ask(asking, Question(url, name, "r"))
                assert answer.reason == "Answers"
                found = re.fullmatch(
                    rf"{url}/v1 lists {name}, first token after (\d+\.\d\d) s", answer.detail
                )
                assert found, answer.detail
            # The model's own name is not among those that it is served by.
            other = await probe.ask(asking, Question(url, MODEL, "r"))
            assert other.reason == "ModelNotServed"
            assert other.detail == f"{url}/v1/models does not list {MODEL}, but: tiny, tiny-too"
            pod.terminate()
            pod.wait_end(120)
            broken = await probe.ask(asking, Question(url, "tiny", "r"))
            assert broken.reason == "NotAnswering"
        # As a Service without a pod: nobody takes connections.
        gone = await probe.ask(asking, Question(url, "tiny", "r"))
        assert gone.reason == "NotAnswering"
        assert "takes no connection" in gone.detail


def test_an_empty_key_is_none(start: Start) -> None:
    """The page on hardening warns of it: vLLM lets everybody in."""
    empty = Case("empty", LOCKED.spec, secrets={"callers": {"of-all": ""}})
    with start(empty) as pod:
        pod.wait_ready()
        with pod.client() as client:
            assert client.get("/v1/models").status_code == 200

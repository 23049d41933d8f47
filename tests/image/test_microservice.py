"""The rendered pod of the LLM microservice, in the image as it is built, before a stand-in for vLLM.

It looks for its server by the name of a Service. That name stands in its /etc/hosts as an address of
loopback, from where a bridge leads to the stand-in: that is all there is of DNS and of Services.
"""

import ast
import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.harness.processes import free_ports, wait_until
from tests.image.conftest import Image
from tests.microservice.guide import curl
from tests.microservice.program import events
from tests.microservice.standin import MODEL, TEXT, StandIn
from tests.vllm.cases import Case
from tests.vllm.pod import End, Pod
from tests.vllm.sandbox import Outside
from tests.vllm.service import bridged
from vllm_operator.desired import names

CASE = Case("chat", {"model": {"name": MODEL}, "microservice": {"enabled": True}})
USER = [{"role": "user", "content": "Who are you?"}]


@pytest.fixture
def standin() -> Iterator[StandIn]:
    """A stand-in that does not run yet."""
    # A path of a unix socket has at most 107 bytes.
    path = Path(f"/tmp/standin-{os.getpid()}")
    yield StandIn(socket=str(path))
    path.unlink(missing_ok=True)


@pytest.fixture
def pod(image: Image, standin: StandIn, tmp_path: Path) -> Iterator[Pod]:
    """The microservice, started before its server."""
    service = httpx.URL(names.url(CASE.server))
    outside = Outside({}, hosts={service.host: "127.0.0.1"})
    with Pod(CASE.microservice, outside, image, tmp_path / "pod") as pod:
        pod.lead(service.port or 0, Path(standin.socket))
        yield pod


def said(pod: Pod) -> list[str]:
    """The messages of its log."""
    return [json.loads(line)["message"] for line in pod.log.splitlines()]


def test_it_is_ready_when_its_server_is(pod: Pod, standin: StandIn) -> None:
    """By its rendered probes; and it answers the guide's commands."""
    wait_until(lambda: pod.readiness.result is False, [pod.process], 60, "it says that it is not ready")
    wait_until(lambda: pod.liveness.result is True, [pod.process], 60, "it is alive")
    assert not pod.readiness.succeeded.is_set()
    with standin:
        pod.wait_ready()
        (port,) = free_ports(1)
        with bridged(port, pod):
            url = f"http://127.0.0.1:{port}"
            assert set(json.loads(curl("2.3 health", "", url))) == {"Service Title", "Service Description"}
            assert json.loads(curl("2.3 non-streaming", "", url))["text"].startswith("".join(TEXT))
            *tokens, last = events(curl("2.3 streaming", "", url))
            assert last == "[DONE]"
            assert [ast.literal_eval(token) for token in tokens] == TEXT
        assert not [each for each in standin.headers if "authorization" in each]
    wait_until(lambda: pod.readiness.result is False, [pod.process], 60, "it says that its server is gone")
    assert pod.liveness.result is True


def test_a_stream_survives_the_deletion_of_its_pod(pod: Pod, standin: StandIn) -> None:
    """What runs at SIGTERM ends as it would have; then the container ends, long before it would be killed."""
    found: dict[str, Any] = {}
    script = {"tokens": 4, "fault": "hold", "after": 2}
    body = {"messages": USER, "stream": True, "standin": script}

    def read() -> None:
        with pod.client() as client:
            found["text"] = client.post("/v1/chat/completions", json=body).text

    def delete() -> None:
        found["end"] = pod.delete()

    with standin:
        pod.wait_ready()
        threads = [threading.Thread(target=each) for each in (read, delete)]
        threads[0].start()
        wait_until(lambda: standin.running == 1, [pod.process], 30, "a stream runs")
        threads[1].start()
        wait_until(lambda: "ending" in said(pod), [pod.process], 60, "SIGTERM is there")
        wait_until(lambda: pod.readiness.result is False, [pod.process], 60, "nobody is led to it any more")
        assert standin.running == 1
        standin.hold.set()
        for thread in threads:
            thread.join()
    assert found["end"] == End(exit_code=0, killed=False)
    *chunks, last = events(found["text"])
    assert last == "[DONE]"
    deltas = [json.loads(chunk)["choices"][0]["delta"] for chunk in chunks]
    assert [delta["content"] for delta in deltas if delta.get("content")] == TEXT[:4]
    assert "time is over" not in said(pod)

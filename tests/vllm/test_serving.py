"""A real vLLM serves from the rendered pod: it gets ready, answers, streams, and drains when deleted."""

import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest

from tests.vllm.cases import MODEL, Case
from tests.vllm.pod import Pod

Start = Callable[[Case], Pod]
TEMPLATE = "{% for m in messages %}[{{ m.role }}] {{ m.content }}\n{% endfor %}$(HOME) $$: "
CHAT = Case(
    "chat",
    {
        "model": {
            "name": MODEL,
            "revision": "main",
            "servedNames": ["tiny", "tiny-too"],
            "offline": True,
            "chatTemplate": {"configMapKeyRef": {"name": "templates", "key": "one"}},
        },
        "rollout": {"drainSeconds": 45},
    },
    {"templates": {"one": TEMPLATE, "other": "not this"}},
)


@pytest.fixture(scope="module")
def pod(start: Start) -> Iterator[Pod]:
    with start(CHAT) as pod:
        pod.wait_ready()
        yield pod


@pytest.fixture
def client(pod: Pod) -> Iterator[httpx.Client]:
    with pod.client() as client:
        yield client


@dataclass
class Stream:
    """What a streamed completion was."""

    tokens: int = 0
    """Completion tokens by the usage that the server sends last."""
    chunks: int = 0
    text: str = ""
    finish: str | None = None
    done: bool = False
    started: threading.Event = field(default_factory=threading.Event)


def read(client: httpx.Client, tokens: int, into: Stream) -> None:
    """Stream a completion of so many tokens."""
    body = {
        "model": "tiny",
        "prompt": "The quick brown",
        "max_tokens": tokens,
        "ignore_eos": True,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    with client.stream("POST", "/v1/completions", json=body) as response:
        assert response.status_code == 200, response.read()
        for line in response.iter_lines():
            take(line, into)


def take(line: str, into: Stream) -> None:
    """Take one line of a stream of events."""
    data = line.removeprefix("data: ")
    if data == "[DONE]":
        into.done = True
    elif data:
        event = json.loads(data)
        for choice in event["choices"]:
            into.chunks += 1
            into.text += choice["text"]
            into.finish = choice["finish_reason"] or into.finish
            into.started.set()
        if event.get("usage"):
            into.tokens = event["usage"]["completion_tokens"]


def test_it_serves_what_was_asked_for(client: httpx.Client) -> None:
    models = client.get("/v1/models").json()["data"]
    assert [model["id"] for model in models] == ["tiny", "tiny-too"]
    assert client.get("/version").json() == {"version": "0.32.0"}


def test_it_completes(client: httpx.Client) -> None:
    body = {"model": "tiny", "prompt": "The quick", "max_tokens": 8, "ignore_eos": True}
    answer = client.post("/v1/completions", json=body).json()
    assert answer["usage"]["completion_tokens"] == 8


def chat(client: httpx.Client, **more: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": "Who jumps over the dog?"}]
    body = {"model": "tiny-too", "messages": messages, "max_tokens": 8, "ignore_eos": True}
    response = client.post("/v1/chat/completions", json=body | more)
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


def test_it_chats(client: httpx.Client) -> None:
    answer = chat(client)
    assert answer["choices"][0]["message"]["role"] == "assistant"
    assert answer["usage"]["completion_tokens"] == 8


def test_it_reads_the_chat_template_of_the_config_map(client: httpx.Client) -> None:
    body = {"model": "tiny", "messages": [{"role": "user", "content": "Who?"}]}
    tokens = client.post("/tokenize", json=body).json()["tokens"]
    prompt = client.post("/detokenize", json={"model": "tiny", "tokens": tokens}).json()["prompt"]
    assert prompt == "[user] Who?\n$(HOME) $$: "


def test_it_streams(client: httpx.Client) -> None:
    seen = Stream()
    read(client, 1024, seen)
    assert (seen.tokens, seen.finish, seen.done) == (1024, "length", True)
    # vLLM puts tokens together when its front falls behind: on a busy machine 64 came in two pieces.
    assert seen.chunks > 1


def test_compiled_code_is_kept_beside_the_weights(pod: Pod) -> None:
    """The next pod of the server starts faster, and the root is read-only."""
    assert any(path.is_file() for path in (pod.outside.claims["chat-cache"] / ".cache" / "vllm").rglob("*"))


def enough(client: httpx.Client, seconds: float) -> int:
    """Tokens that take about so many seconds on this machine now."""
    sample = 1024
    began = time.monotonic()
    read(client, sample, Stream())
    return min(int(sample / (time.monotonic() - began) * seconds), 32000)


def read_what_comes(client: httpx.Client, tokens: int, into: Stream) -> None:
    """Stream too, but a connection that breaks shows by what is missing."""
    with contextlib.suppress(httpx.HTTPError):
        read(client, tokens, into)


def test_a_stream_survives_the_deletion_of_its_pod(pod: Pod) -> None:
    """All tokens that were asked for arrive, though the stream ends long after SIGTERM."""
    seen = Stream()
    running = []
    with pod.client() as client:
        tokens = enough(client, pod.pause + 15)
        reader = threading.Thread(target=read_what_comes, args=(client, tokens, seen))
        reader.start()
        assert seen.started.wait(60)
        end = pod.delete(before_sigterm=lambda: running.append(not seen.done))
        reader.join()
    assert running == [True], "the stream was too short to tell anything"
    assert (seen.tokens, seen.finish, seen.done) == (tokens, "length", True)
    assert (end.exit_code, end.killed) == (0, False)
    # It was drained, and not an abort that came out well.
    assert "mode=drain timeout=45s" in pod.log

"""The LLM microservice before a real vLLM: its answers, and vLLM's work when somebody leaves."""

import ast
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from tests.harness.processes import Process, free_ports, wait_until
from tests.microservice.guide import curl
from tests.microservice.program import Microservice, command, environment, events, request
from tests.vllm.cases import MODEL, Case
from tests.vllm.pod import Pod
from tests.vllm.service import bridged
from tests.vllm.test_serving import Stream, enough, take

Start = Callable[[Case], Pod]
GUIDE = "Intel/neural-chat-7b-v3-3"
CASE = Case(
    "micro",
    {
        "model": {"name": MODEL, "servedNames": ["tiny", GUIDE], "offline": True},
        "engineArgs": {"maxNumSeqs": 4, "enforceEager": True},
        "rollout": {"drainSeconds": 90},
    },
)
PAIR = {"system": "Be brief.", "user": "Who jumps over the dog?"}
USER = [{"role": "user", "content": "Who jumps over the dog?"}]
LONG = {"max_tokens": 30000, "ignore_eos": True}


@dataclass
class Stage:
    """A microservice, and where it looks for vLLM."""

    service: Microservice
    port: int

    @property
    def vllm(self) -> str:
        """vLLM's address."""
        return f"http://127.0.0.1:{self.port}"

    def count(self, metric: str) -> float:
        """What vLLM counts."""
        lines = httpx.get(f"{self.vllm}/metrics", trust_env=False, timeout=60).text.splitlines()
        found = [float(line.split()[-1]) for line in lines if line.startswith(f"{metric}{{")]
        assert found, metric
        return sum(found)

    def running(self) -> float:
        """How many requests vLLM is answering, by its own count."""
        return self.count("vllm:num_requests_running")

    def wait_idle(self) -> None:
        """Wait until it has nothing to do."""
        wait_until(lambda: self.running() == 0, [self.service.process], 60, "vLLM has nothing to do")


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """A microservice that was started before vLLM."""
    ours, port = free_ports(2)
    log = tmp_path_factory.mktemp("microservice") / "log"
    surroundings = environment(f"http://127.0.0.1:{port}", ours, LLM_MODEL_NAME="tiny")
    process = Process("microservice", command(), log, surroundings)
    service = Microservice(process, f"http://127.0.0.1:{ours}")
    process.start()
    try:
        wait_until(service.up, [process], 60, "it listens")
        assert service.health().status_code == 503
        yield Stage(service, port)
    finally:
        process.kill()


@pytest.fixture(scope="module")
def pod(stage: Stage, start: Start) -> Iterator[Pod]:
    """vLLM, which the microservice cannot reach yet."""
    with start(CASE) as pod:
        pod.wait_ready()
        yield pod


@pytest.fixture(scope="module")
def bridge(stage: Stage, pod: Pod) -> Iterator[Process]:
    """The way to the first pod."""
    with bridged(stage.port, pod) as bridge:
        yield bridge


@pytest.fixture
def service(stage: Stage, bridge: Process) -> Microservice:
    """The microservice with vLLM behind it."""
    return stage.service


def test_it_recovers_by_itself(service: Microservice) -> None:
    """It was there before vLLM, and said so."""
    assert service.health().status_code == 200


@pytest.mark.parametrize("name", ["1.2 completions", "1.2 chat", "2.3 completions"])
def test_the_guides_commands_for_vllm(service: Microservice, stage: Stage, name: str) -> None:
    answer = json.loads(curl(name, stage.vllm))
    assert answer["object"] == ("chat.completion" if name == "1.2 chat" else "text_completion")
    assert answer["choices"][0]["finish_reason"] in ("length", "stop")


def test_the_guides_commands_for_the_microservice(service: Microservice) -> None:
    assert set(json.loads(curl("2.3 health", "", service.url))) == {"Service Title", "Service Description"}
    answer = json.loads(curl("2.3 non-streaming", "", service.url))
    assert answer["prompt"] == "### Question: Who are you? \n\n"
    # The tiny model may well end at once; what it says is another test's.
    assert isinstance(answer["text"], str)
    *tokens, last = events(curl("2.3 streaming", "", service.url))
    assert last == "[DONE]"
    assert all(isinstance(ast.literal_eval(token), str) for token in tokens)


def test_the_guides_chat_command_at_the_microservice(service: Microservice) -> None:
    answer = json.loads(curl("1.2 chat", service.url))
    # vLLM names itself by its first name, whichever it was asked by.
    assert (answer["object"], answer["model"]) == ("chat.completion", "tiny")


FORMS: list[dict[str, Any]] = [{"messages": PAIR}, {"messages": USER}, {"query": "The quick brown"}]


@pytest.mark.parametrize("body", FORMS, ids=["guide", "openai", "query"])
def test_a_stream_says_what_a_document_says(service: Microservice, body: dict[str, Any]) -> None:
    """In each form; the parameters that vLLM knows reach it."""
    fixed = {
        "max_new_tokens": 16,
        "temperature": 0,
        "top_k": 5,
        "repetition_penalty": 1.1,
        "ignore_eos": True,
    }
    answer = service.chat(body | fixed | {"streaming": False})
    assert answer.status_code == 200, answer.text
    document = answer.json()
    text = document.get("text") or document["choices"][0]["message"]["content"]
    *said, last = events(service.chat(body | fixed | {"streaming": True}).text)
    assert last == "[DONE]"
    if "choices" in document:
        chunks = [json.loads(each)["choices"][0]["delta"].get("content") or "" for each in said]
        assert document["usage"]["completion_tokens"] == 16
    else:
        chunks = [ast.literal_eval(each) for each in said]
    assert "".join(chunks) == text


def test_vllms_own_refusals(service: Microservice) -> None:
    unknown = service.chat({"messages": PAIR, "model": "nobody/nothing"})
    assert (unknown.status_code, unknown.json()["error"]["param"]) == (404, "model")
    assert "nobody/nothing" in unknown.json()["detail"]
    many = service.chat({"messages": PAIR, "max_new_tokens": 10_000_000})
    assert many.status_code == 400
    wrong = service.chat({"messages": [{"role": "user", "content": 5}]})
    assert wrong.status_code == 400


@pytest.mark.parametrize("body", FORMS, ids=["guide", "openai", "query"])
@pytest.mark.parametrize("streamed", [True, False])
@pytest.mark.parametrize(
    "wrong", [{"logit_bias": {"999999": 1}}, {"allowed_token_ids": []}], ids=["bias", "allowed"]
)
def test_what_vllm_checks_when_it_begins_to_answer(
    service: Microservice, stage: Stage, body: dict[str, Any], streamed: bool, wrong: dict[str, Any]
) -> None:
    """vLLM's own answer to a request for a stream is 200, with the error as its first event."""
    answer = service.chat(body | wrong | {"stream": streamed})
    (param,) = wrong
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)
    assert answer.json()["error"]["type"] == "BadRequestError"
    own = httpx.post(
        f"{stage.vllm}/v1/chat/completions",
        json={"messages": USER, "stream": True} | wrong,
        trust_env=False,
        timeout=60,
    )
    assert own.status_code == 200


@pytest.mark.parametrize("body", FORMS, ids=["guide", "openai", "query"])
@pytest.mark.parametrize("streamed", [True, False])
def test_a_client_that_leaves_frees_vllm(
    service: Microservice, stage: Stage, body: dict[str, Any], streamed: bool
) -> None:
    stage.wait_idle()
    before = stage.count("vllm:generation_tokens_total")
    long = body | LONG | {"stream": streamed}
    address = httpx.URL(service.url)
    with socket.create_connection((address.host, address.port or 0), timeout=60) as client:
        client.sendall(request(long))
        if streamed:
            assert client.recv(1000).startswith(b"HTTP/1.1 200")
        else:
            # Not told by /metrics: on a busy machine that has been answered only after the last token.
            time.sleep(2)
    stage.wait_idle()
    # It had begun, and has not just come to its end.
    assert 0 < stage.count("vllm:generation_tokens_total") - before < LONG["max_tokens"]


def read(service: Microservice, tokens: int, into: Stream) -> None:
    """Stream a completion of so many tokens through the microservice."""
    more = {"max_tokens": tokens, "ignore_eos": True, "stream_options": {"include_usage": True}}
    body = {"messages": USER, "stream": True, **more}
    with service.client(600) as client, client.stream("POST", "/v1/chat/completions", json=body) as answer:
        for line in answer.iter_lines():
            take_chat(line, into)


def take_chat(line: str, into: Stream) -> None:
    """Take one line of a chat's stream, as if it were a completion's."""
    data = line.removeprefix("data: ")
    if data.startswith("{"):
        event = json.loads(data)
        for choice in event["choices"]:
            choice["text"] = choice.pop("delta").get("content") or ""
        line = f"data: {json.dumps(event)}"
    take(line, into)


def test_a_drain_and_a_restart_behind_it(
    service: Microservice, stage: Stage, bridge: Process, pod: Pod, start: Start
) -> None:
    """A stream lasts over the deletion of vLLM's pod; then there is none, and then there is another."""
    seen, running = Stream(), []
    with pod.client() as client:
        tokens = enough(client, pod.pause + 30)
    reader = threading.Thread(target=read, args=(service, tokens, seen))
    reader.start()
    assert seen.started.wait(60)
    end = pod.delete(before_sigterm=lambda: running.append(not seen.done))
    reader.join()
    assert running == [True], "the stream was too short to tell anything"
    assert (seen.tokens, seen.finish, seen.done) == (tokens, "length", True)
    assert (end.exit_code, end.killed) == (0, False)
    bridge.kill()
    answer = service.chat({"messages": PAIR})
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    assert service.health().status_code == 503
    with start(CASE) as other:
        other.wait_ready()
        with bridged(stage.port, other):
            assert service.health().status_code == 200
            body = {"messages": PAIR, "max_new_tokens": 4, "ignore_eos": True, "streaming": False}
            assert service.chat(body).json()["text"]
    assert service.process.running

"""The rendered pod of the LLM microservice, in the image as it is built, before that of a real vLLM.

How it finds its server is said in tests/image/test_microservice.py.
"""

import ast
import json
import threading
from collections.abc import Callable
from pathlib import Path

import httpx

from tests.harness.processes import free_ports, wait_until
from tests.image.conftest import Image
from tests.microservice.guide import curl
from tests.microservice.program import events
from tests.vllm.cases import MODEL, Case
from tests.vllm.pod import End, Pod
from tests.vllm.sandbox import Outside
from tests.vllm.service import bridged
from tests.vllm.test_microservice import USER, take_chat
from tests.vllm.test_serving import Stream, enough
from vllm_operator.desired import names

Start = Callable[[Case], Pod]
CASE = Case(
    "both",
    {
        "model": {"name": MODEL, "servedNames": ["tiny"], "offline": True},
        "engineArgs": {"maxNumSeqs": 4, "enforceEager": True},
        "microservice": {"enabled": True},
    },
)


def ask_as_the_guide_does(pod: Pod) -> None:
    (port,) = free_ports(1)
    with bridged(port, pod):
        url = f"http://127.0.0.1:{port}"
        assert isinstance(json.loads(curl("2.3 non-streaming", "", url))["text"], str)
        *tokens, last = events(curl("2.3 streaming", "", url))
    assert last == "[DONE]"
    assert all(isinstance(ast.literal_eval(token), str) for token in tokens)


def read(pod: Pod, tokens: int, into: Stream) -> None:
    """Stream a chat of so many tokens through the microservice."""
    more = {"max_tokens": tokens, "ignore_eos": True, "stream_options": {"include_usage": True}}
    body = {"messages": USER, "stream": True, **more}
    with pod.client() as client, client.stream("POST", "/v1/chat/completions", json=body) as answer:
        for line in answer.iter_lines():
            take_chat(line, into)


def delete_below_a_stream(pod: Pod, tokens: int) -> tuple[Stream, End]:
    """Delete the microservice's pod while it streams, until long after SIGTERM."""
    seen, running = Stream(), []
    reader = threading.Thread(target=read, args=(pod, tokens, seen))
    reader.start()
    assert seen.started.wait(60)
    end = pod.delete(before_sigterm=lambda: running.append(not seen.done))
    reader.join()
    assert running == [True], "the stream was too short to tell anything"
    return seen, end


def test_both_pods_as_they_are_rendered(start: Start, image: Image, tmp_path: Path) -> None:
    server, service = start(CASE), httpx.URL(names.url(CASE.server))
    outside = Outside({}, hosts={service.host: "127.0.0.1"})
    with Pod(CASE.microservice, outside, image, tmp_path / "pod") as pod:
        pod.lead(service.port or 0, server.socket)
        wait_until(lambda: pod.readiness.result is False, [pod.process], 60, "it says that it is not ready")
        with server:
            wait_until(lambda: "non-default args" in server.log, [server.process], 600, "vLLM starts")
            assert not pod.readiness.succeeded.is_set()
            server.wait_ready()
            pod.wait_ready()
            ask_as_the_guide_does(pod)
            with server.client() as client:
                tokens = enough(client, pod.pause + 15)
            seen, end = delete_below_a_stream(pod, tokens)
    assert (seen.tokens, seen.finish, seen.done) == (tokens, "length", True)
    assert end == End(exit_code=0, killed=False)

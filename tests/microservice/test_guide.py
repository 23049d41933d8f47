"""The guide's own requests, word for word, by curl, and the answers that its clients expect."""

import ast
import json

import pytest

from tests.microservice.guide import curl
from tests.microservice.program import Microservice, events
from tests.microservice.standin import MODEL, TEXT, StandIn


def test_health_check(service: Microservice) -> None:
    assert set(json.loads(curl("2.3 health", "", service.url))) == {"Service Title", "Service Description"}


def test_non_streaming(service: Microservice, standin: StandIn) -> None:
    answer = json.loads(curl("2.3 non-streaming", "", service.url))
    assert answer == {
        "id": "cmpl-1",
        "text": "".join(TEXT),
        "prompt": "### Question: Who are you? \n\n",
        "streaming": False,
        "output_guardrail_params": None,
    }
    asked = standin.seen[-1]
    roles = [message["role"] for message in asked.pop("messages")]
    assert roles == ["system", "user"]
    assert asked == {"max_tokens": 17, "top_p": 0.95, "temperature": 0.01, "stream": False}


def test_streaming(service: Microservice, standin: StandIn) -> None:
    told = curl("2.3 streaming", "", service.url)
    *tokens, last = events(told)
    assert last == "[DONE]"
    assert told.endswith("data: [DONE]\n\n")
    # As the clients of release 1.3.0 read a token.
    assert tokens[0] == "'Deep'"
    assert [ast.literal_eval(token) for token in tokens] == TEXT
    assert standin.seen[-1]["max_tokens"] == 32
    assert standin.seen[-1]["stream"] is True


def test_role_list_as_vllm_takes_it(service: Microservice, standin: StandIn) -> None:
    """Section 1.2 sends this to vLLM; the microservice answers it in the same words."""
    answer = json.loads(curl("1.2 chat", service.url))
    assert answer == json.loads(curl("1.2 chat", standin.url))
    assert answer["choices"][0]["message"] == {"role": "assistant", "content": "".join(TEXT)}
    assert standin.seen[-1] == standin.seen[-2]
    assert standin.seen[-1]["model"] == MODEL


@pytest.mark.parametrize("name", ["1.2 completions", "2.3 completions"])
def test_completions_stay_with_vllm(service: Microservice, name: str) -> None:
    """The guide sends these to vLLM's own port; here is nothing at that path, and it says so."""
    assert json.loads(curl(name, service.url))["error"]["code"] == 404

"""What of a request reaches vLLM, and what is wrong with one."""

from typing import Any

import pytest

from tests.microservice.program import Launch, Microservice, events
from tests.microservice.standin import MODEL, TEXT, StandIn

USER = [{"role": "user", "content": "Who?"}]
PAIR = {"system": "Be brief.", "user": "Who?"}
SAMPLING = {"top_p": 0.5, "temperature": 0.7, "top_k": 5, "repetition_penalty": 1.2}


@pytest.mark.parametrize("body", [{"messages": PAIR}, {"messages": USER}, {"query": "Who?"}])
def test_parameters_that_vllm_knows_reach_it(
    service: Microservice, standin: StandIn, body: dict[str, Any]
) -> None:
    more = {"model": MODEL, "max_new_tokens": 7, "seed": 3, "stop": ["\n"], "streaming": False, **SAMPLING}
    assert service.chat(body | more).status_code == 200
    asked = standin.seen[-1]
    for prompt in ("messages", "prompt"):
        asked.pop(prompt, None)
    expected = {"model": MODEL, "max_tokens": 7, "seed": 3, "stop": ["\n"], "stream": False}
    assert asked == expected | SAMPLING


def test_the_guides_defaults(service: Microservice, standin: StandIn) -> None:
    answer = service.chat({"messages": PAIR})
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Who?"}]
    expected = {"max_tokens": 1024, "top_p": 0.95, "temperature": 0.01, "stream": True}
    assert standin.seen[-1] == expected | {"messages": messages}


def test_openai_requests_have_no_defaults_of_ours(service: Microservice, standin: StandIn) -> None:
    body = {"messages": [{"role": "user", "content": [{"type": "text", "text": "Who?"}], "name": "me"}]}
    more = {"max_completion_tokens": 5, "logit_bias": {"5": 1}, "n": 2}
    answer = service.chat(body | more).json()
    assert answer["object"] == "chat.completion"
    assert standin.seen[-1] == body | more


def test_empty_system_messages_and_nulls_are_not_sent(service: Microservice, standin: StandIn) -> None:
    body = {"messages": {"system": "", "user": "Who?"}, "model": None, "top_k": None, "streaming": False}
    assert service.chat(body).status_code == 200
    assert standin.seen[-1]["messages"] == USER
    assert not {"model", "top_k"} & set(standin.seen[-1])


def test_an_empty_message_of_the_user_is_sent(service: Microservice, standin: StandIn) -> None:
    assert service.chat({"messages": {"user": ""}, "streaming": False}).status_code == 200
    assert standin.seen[-1]["messages"] == [{"role": "user", "content": ""}]


def test_query_is_a_whole_prompt(service: Microservice, standin: StandIn) -> None:
    answer = service.chat({"query": "Deep learning is", "streaming": False}).json()
    assert (answer["text"], answer["prompt"]) == ("".join(TEXT), "Deep learning is")
    assert standin.seen[-1]["prompt"] == "Deep learning is"
    *tokens, last = events(service.chat({"query": "Deep learning is"}).text)
    assert (tokens, last) == ([repr(token) for token in TEXT], "[DONE]")


def test_parameters_for_others_in_a_pipeline(service: Microservice, standin: StandIn) -> None:
    theirs = {"typical_p": 0.95, "input_guardrail_params": {"a": 1}, "output_guardrail_params": {"b": ["é"]}}
    answer = service.chat({"messages": PAIR, "streaming": False, **theirs}).json()
    assert answer["output_guardrail_params"] == {"b": ["é"]}
    assert not set(theirs) & set(standin.seen[-1])


def test_openai_streams_pass_as_they_are(service: Microservice, standin: StandIn) -> None:
    body = {"messages": USER, "stream": True}
    answer = service.chat(body)
    with_us = answer.text
    with service.client() as client:
        assert with_us == client.post(f"{standin.url}/v1/chat/completions", json=body).text
    assert answer.headers["x-accel-buffering"] == "no"
    assert with_us.endswith("data: [DONE]\n\n")


def test_headers_that_vllm_reads(service: Microservice, standin: StandIn) -> None:
    sent = {
        "X-Request-Id": "mine",
        "traceparent": "00-1-2-01",
        "Authorization": b"Bearer \xe9",
        "Cookie": "no=1",
    }
    assert service.chat({"messages": USER}, headers=sent).status_code == 200
    got = standin.headers[-1]
    assert (got["x-request-id"], got["traceparent"], got["authorization"]) == (
        "mine",
        "00-1-2-01",
        "Bearer \udce9",
    )
    assert "cookie" not in got


def test_a_key_of_our_own_is_sent_in_place_of_the_clients(launch: Launch) -> None:
    with StandIn(key="ours") as standin:
        keyed = launch(standin.url, VLLM_API_KEY="ours")
        answer = keyed.chat({"messages": USER}, headers={"Authorization": "Bearer theirs"})
        assert answer.status_code == 200
        assert keyed.health().status_code == 200
        keyless = launch(standin.url)
        refused = keyless.chat({"messages": USER})
        error = {"message": "Unauthorized", "type": "AuthenticationError", "param": None, "code": 401}
        assert (refused.status_code, refused.json()["error"]) == (401, error)
        assert keyless.chat({"messages": USER}, headers={"Authorization": "Bearer ours"}).status_code == 200
        # It lives, and clients have its key.
        assert keyless.health().status_code == 200
        wrong = launch(standin.url, VLLM_API_KEY="another")
        assert wrong.health().json()["detail"].startswith("vLLM refuses the key in VLLM_API_KEY")


def test_the_model_of_the_settings(launch: Launch, standin: StandIn) -> None:
    named = launch(standin.url, LLM_MODEL_NAME=MODEL)
    assert named.chat({"messages": USER}).status_code == 200
    assert standin.seen[-1]["model"] == MODEL
    other = launch(standin.url, LLM_MODEL_NAME="other/model")
    assert other.health().json()["detail"] == "vLLM does not serve 'other/model', which LLM_MODEL_NAME names"
    assert other.chat({"messages": USER, "model": MODEL}).status_code == 200


WRONG: list[tuple[dict[str, Any], list[Any]]] = [
    ({}, ["messages"]),
    ({"messages": []}, ["messages"]),
    ({"messages": "Who?"}, ["messages"]),
    ({"messages": [{"content": "Who?"}]}, ["messages", 0, "role"]),
    ({"messages": {"system": "Be brief."}}, ["messages", "user"]),
    ({"messages": {"user": 1}}, ["messages", "user"]),
    ({"messages": PAIR, "query": "Who?"}, []),
    ({"messages": USER, "query": "Who?"}, []),
    ({"query": None, "messages": None}, []),
    ({"messages": USER, "max_new_tokens": 0}, ["max_new_tokens"]),
    ({"messages": PAIR, "max_tokens": "many"}, ["max_tokens"]),
    ({"messages": PAIR, "max_tokens": 1, "max_new_tokens": 2}, []),
    ({"messages": PAIR, "stream": True, "streaming": False}, []),
    ({"messages": PAIR, "streaming": "perhaps"}, ["streaming"]),
    ({"messages": PAIR, "top_p": 1.5}, ["top_p"]),
    ({"messages": USER, "top_p": 0}, ["top_p"]),
    ({"messages": PAIR, "temperature": -1}, ["temperature"]),
    ({"messages": USER, "top_k": -2}, ["top_k"]),
    ({"messages": PAIR, "repetition_penalty": 0}, ["repetition_penalty"]),
    ({"messages": USER, "model": 5}, ["model"]),
]


@pytest.mark.parametrize(("body", "place"), WRONG, ids=str)
def test_a_wrong_field_is_named(
    service: Microservice, standin: StandIn, body: dict[str, Any], place: list[Any]
) -> None:
    before = len(standin.seen)
    answer = service.chat(body)
    assert answer.status_code == 422
    told = answer.json()
    assert told["detail"][0]["loc"] == ["body", *place]
    assert told["error"]["param"] == (".".join(map(str, place)) or None)
    assert told["error"]["message"].startswith(".".join(map(str, ["body", *place])))
    assert len(standin.seen) == before


BROKEN = {
    "no JSON": (b"{", 422),
    "no object": (b"[1]", 422),
    "nothing": (b"", 422),
    "not a number": (b'{"messages": {"user": "a"}, "seed": NaN}', 422),
    "not a number to send back": (b'{"messages": {"user": "a"}, "output_guardrail_params": NaN}', 422),
    "too deep": (b'{"messages": ' + b"[" * 60_000, 400),
    "no UTF-8": (b'{"messages": {"user": "\xff"}}', 400),
    "a number of 4,300 digits": (b'{"messages": {"user": "a"}, "seed": ' + b"9" * 4300 + b"}", 400),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_no_request_at_all(service: Microservice, name: str) -> None:
    body, status = BROKEN[name]
    with service.client() as client:
        headers = {"Content-Type": "application/json"}
        answer = client.post("/v1/chat/completions", content=body, headers=headers)
    assert answer.status_code == status
    assert answer.json()["error"]["code"] == status


@pytest.mark.parametrize("field", ["seed", "output_guardrail_params"])
def test_what_is_nested_too_deep_is_refused(service: Microservice, field: str) -> None:
    """With Python 3.11 at about a thousand: there it can be read, and not be written."""
    before, codes = len(service.log), set()
    for depth in (*range(600, 1000, 5), 20_000):
        nested = "[" * depth + "]" * depth
        body = f'{{"messages": {{"user": "a"}}, "streaming": false, "{field}": {nested}}}'
        with service.client() as client:
            headers = {"Content-Type": "application/json"}
            codes.add(client.post("/v1/chat/completions", content=body, headers=headers).status_code)
    assert codes == {200, 400}
    assert not [line for line in service.log[before:] if line["level"] != "INFO"]


def test_a_mark_before_it_is_no_part_of_a_request(service: Microservice) -> None:
    """PowerShell puts it in front of UTF-8."""
    body = b'\xef\xbb\xbf{"messages": {"user": "Who?"}, "streaming": false}'
    with service.client() as client:
        headers = {"Content-Type": "application/json"}
        assert client.post("/v1/chat/completions", content=body, headers=headers).status_code == 200


def test_half_a_surrogate_pair_passes_through(service: Microservice, standin: StandIn) -> None:
    """JSON may hold it, UTF-8 may not."""
    body = b'{"messages": {"user": "\\ud800"}, "streaming": false}'
    with service.client() as client:
        headers = {"Content-Type": "application/json"}
        answer = client.post("/v1/chat/completions", content=body, headers=headers)
    assert answer.json()["prompt"] == "\ud800"
    assert standin.seen[-1]["messages"][0]["content"] == "\ud800"


def test_other_pages(service: Microservice) -> None:
    with service.client() as client:
        assert client.get("/v1/chat/completions").status_code == 405
        assert client.get("/nothing").json()["error"]["code"] == 404
        page = client.get("/docs").text
        assert client.get("/openapi.json").json()["info"]["title"] == "LLM microservice"
    assert "max_new_tokens" in page
    # It loads nothing from anywhere.
    assert "//" not in page
    assert "<script" not in page

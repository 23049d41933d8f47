"""What is read of JSON: of vLLM's refusals in whatever words, and of a request how many values it holds."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_microservice.answers import refusal
from llm_microservice.forms import values

OWN = {"error": {"message": "m", "type": "OwnError", "param": "p", "code": 0}}


@pytest.mark.parametrize(
    ("status", "said", "message", "kind"),
    [
        (401, {"error": "Unauthorized"}, "Unauthorized", "AuthenticationError"),
        (403, {"detail": "Forbidden"}, "Forbidden", "PermissionDeniedError"),
        (404, {"detail": "Not Found"}, "Not Found", "NotFoundError"),
        (429, {"error": {"message": "m"}}, "m", "RateLimitError"),
        (400, {"detail": "There was an error"}, "There was an error", "BadRequestError"),
        (400, {"message": "m", "type": "OwnError"}, "m", "OwnError"),
        (400, OWN, "m", "OwnError"),
        (404, {}, "vLLM answered with status 404", "NotFoundError"),
        (400, [], "vLLM answered with status 400", "BadRequestError"),
        (503, {"error": "loading"}, "loading", "ServiceUnavailableError"),
        (500, {"detail": "m"}, "vLLM failed with status 500: m", "BadGatewayError"),
    ],
    ids=str,
)
def test_a_refusal(status: int, said: object, message: str, kind: str) -> None:
    problem = refusal(status, json.dumps(said).encode(), None)
    assert (problem.message, problem.kind) == (message, kind)
    assert problem.param == ("p" if said == OWN else None)


def test_a_refusal_that_cannot_be_read() -> None:
    for said in (b"", b"{", b"\xff", b"[" * 200_000):
        assert refusal(400, said, None).message == "vLLM answered with status 400"


@pytest.mark.parametrize("param", ["NaN", "[" * 900 + "]" * 900, "5"])
def test_a_refusal_that_cannot_be_passed_on_whole(param: str) -> None:
    problem = refusal(400, f'{{"error": {{"message": "m", "param": {param}}}}}'.encode(), None)
    assert problem.response.status_code == 400


JSON = st.recursive(
    st.none() | st.floats(allow_nan=False, allow_infinity=False) | st.text(st.sampled_from('a\\",[{}]: é')),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.sampled_from('a\\",[{:')), inner),
)


def members(value: Any) -> int:
    """How many values are in the lists and objects of this one; an empty one counts as one that holds one."""
    if not isinstance(value, dict | list):
        return 0
    inner = value.values() if isinstance(value, dict) else value
    return max(len(value), 1) + sum(map(members, inner))


@given(JSON)
def test_values_are_counted_as_they_are(value: Any) -> None:
    assert (
        values(json.dumps(value)) == values(json.dumps(value, indent=1, ensure_ascii=False)) == members(value)
    )

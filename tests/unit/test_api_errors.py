"""What is read from the API server's refusals."""

import json
from typing import Any

from vllm_operator.controller.outcome import ApiError


def refusal(**causes: str) -> bytes:
    """An answer as the API server gives it, with a message for each field."""
    found = [
        {"reason": "FieldValueInvalid", "message": text, "field": field} for field, text in causes.items()
    ]
    details: dict[str, Any] = {"name": "chat", "group": "apps", "kind": "Deployment", "causes": found}
    message = f'Deployment.apps "chat" is invalid: {causes}'
    return json.dumps({"kind": "Status", "message": message, "details": details}).encode()


def test_fields_are_those_that_are_wrong_and_never_words_of_a_message() -> None:
    """A value `metadata.uid` in somebody's spec once passed for an object that had been made anew."""
    spoken = ApiError.read(422, refusal(**{"spec.template": 'Invalid value: "metadata.uid": no'}), "")
    assert "metadata.uid" in spoken.message
    assert spoken.fields == {"spec.template"}
    changed = ApiError.read(422, refusal(**{"metadata.uid": "field is immutable"}), "")
    assert changed.fields == {"metadata.uid"}
    assert changed.causes == {"FieldValueInvalid"}


def test_answers_of_others_are_errors_too() -> None:
    for body in (b"bad gateway \xff", b"[]", b"null", b"{}", b'{"message": "no", "details": null}'):
        error = ApiError.read(502, body, "soon")
        assert (error.status, error.fields, error.causes) == (502, frozenset(), frozenset())
        assert error.retry_after == 0.0
        assert error.message
    assert ApiError.read(429, b"", "7").retry_after == 7.0

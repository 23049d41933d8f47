"""Which refusals a user must act on, and which pass by themselves."""

import pytest

from vllm_operator.api.reasons import Reason
from vllm_operator.controller.outcome import ApiError, rejected

SEEN = (
    "failed to create typed patch object (ns/a; apps/v1, Kind=Deployment): "
    '.spec.template.spec.topologySpreadConstraints: duplicate entries for key [topologyKey="zone"]',
    "failed to convert new object (ns/a; apps/v1, Kind=Deployment) to proper version: unable to convert",
)
"""What Kubernetes v1.36.3 answered with code 500 to an apply that no repetition can help."""


@pytest.mark.parametrize("message", SEEN)
def test_an_object_that_does_not_fit_the_schema_is_rejected_though_it_is_told_as_a_fault(
    message: str,
) -> None:
    stalled = rejected("Deployment a", ApiError(500, message))
    assert stalled is not None
    assert stalled.reason == Reason.CHILD_REJECTED
    assert message in stalled.message
    assert rejected("Deployment a", ApiError(503, message)) is None


@pytest.mark.parametrize(
    ("status", "is_rejection"),
    [(400, True), (403, True), (422, True), (409, False), (500, False), (429, False)],
)
def test_other_answers_are_told_apart_by_their_code(status: int, is_rejection: bool) -> None:
    assert (rejected("Service a", ApiError(status, "etcdserver: leader changed")) is not None) is is_rejection


def test_what_a_namespace_in_deletion_refuses_is_nobodys_to_mend() -> None:
    """By its cause: the same words may stand in a policy's message."""
    words = "unable to create new content in namespace a because it is being terminated"
    assert rejected("Service a", ApiError(403, words, causes=["NamespaceTerminating"])) is None
    assert rejected("Service a", ApiError(403, words)) is not None

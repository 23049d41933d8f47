"""`Verified`: when a server is asked, what is said of its answer, and that it decides nothing else."""

from dataclasses import replace

import pytest

from tests.unit.things import RECORD, deployment, observed, server, target
from vllm_operator.api.observed import Observed
from vllm_operator.api.reasons import Reason
from vllm_operator.api.seen import Answer
from vllm_operator.api.status import Condition
from vllm_operator.status.conditions import Transition, Verdict
from vllm_operator.status.server import judge, judge_blocked
from vllm_operator.status.verified import question
from vllm_operator.status.view import View

NOW = "2026-01-02T00:00:00Z"
URL = "http://chat.ns.svc:8008"
LISTS = f"{URL}/v1 lists org/model, first token after"


def serving(spec: dict[str, object] | None = None, **facts: object) -> Observed:
    return observed(server(spec), deployment(**facts))


def judged(seen: Observed, previous: dict[str, Transition] | None = None) -> dict[str, Condition]:
    status = judge(seen, target(), previous=previous or {}, now=NOW)
    return {condition.type: condition for condition in status.conditions or ()}


def test_a_revision_that_serves_is_asked_by_its_first_name() -> None:
    found = question(View(serving({"model": {"name": "org/model", "servedNames": ["a", "b"]}}), target()))
    assert found == (URL, "a", RECORD)
    assert question(View(serving(), target())) == (URL, "org/model", RECORD)


@pytest.mark.parametrize(
    ("spec", "facts"),
    [
        ({"verify": False}, {}),
        ({}, {"progressing": "ReplicaSetUpdated"}),
        ({}, {"record": "another"}),
        ({}, {"ready_replicas": 0}),
        ({"replicas": 0}, {"wanted_replicas": 0, "replicas": 0, "updated_replicas": 0, "ready_replicas": 0}),
    ],
)
def test_nobody_is_asked_before_or_when_it_is_switched_off(
    spec: dict[str, object], facts: dict[str, object]
) -> None:
    seen = serving(spec, **facts)
    assert question(View(seen, target())) is None
    said = {"Verified": Transition("True", "Answers", NOW, "before")}
    assert "Verified" not in judged(replace(seen, answer=Answer(Reason.ANSWERS, "x")), said)


@pytest.mark.parametrize(
    ("reason", "status", "words"),
    [
        (Reason.ANSWERS, "True", "what came"),
        (Reason.KEY_REQUIRED, "Unknown", "what came"),
        (Reason.UNREACHABLE, "Unknown", "`kubectl -n ns patch vllm chat"),
        (Reason.UNREACHABLE, "Unknown", "start it with VLLM_OPERATOR_VERIFY=false"),
        (Reason.MODEL_NOT_SERVED, "False", "spec.model.servedNames"),
        (Reason.NOT_ANSWERING, "False", "`kubectl -n ns logs deployment/chat --tail=50`"),
    ],
)
def test_every_answer_has_its_words_and_changes_no_readiness(reason: Reason, status: str, words: str) -> None:
    found = judged(replace(serving(), answer=Answer(reason, "what came")))
    assert (found["Verified"].status, found["Verified"].reason) == (status, reason)
    assert found["Verified"].message.startswith("what came")
    assert words in found["Verified"].message
    assert (found["Ready"].status, found["Available"].status) == ("True", "True")
    assert "Stalled" not in found


def test_another_time_of_the_same_answer_changes_nothing() -> None:
    """Neither asking again nor a restart, after which nothing is known, writes a status."""
    said = {"Verified": Transition("True", "Answers", "2026-01-01T00:00:00Z", f"{LISTS} 0.20 s")}
    again = judged(
        replace(serving(), answer=Answer(Reason.ANSWERS, f"{LISTS} 0.31 s")),
        said,
    )
    restarted = judged(serving(), said)
    assert again["Verified"] == restarted["Verified"]
    assert again["Verified"].message.endswith("0.20 s")
    assert again["Verified"].last_transition_time == "2026-01-01T00:00:00Z"


def test_another_answer_is_told_with_its_time() -> None:
    said = {"Verified": Transition("True", "Answers", "2026-01-01T00:00:00Z", f"{LISTS} 0.20 s")}
    found = judged(replace(serving(), answer=Answer(Reason.NOT_ANSWERING, "500")), said)["Verified"]
    assert (found.status, found.last_transition_time) == ("False", NOW)


def test_a_reason_of_another_version_is_not_kept() -> None:
    said = {"Verified": Transition("True", "FromTheFuture", NOW, "x")}
    assert "Verified" not in judged(serving(), said)


def test_what_was_said_of_another_port_is_not_kept() -> None:
    said = {"Verified": Transition("True", "Answers", NOW, "http://chat.ns.svc:80/v1 lists org/model")}
    assert "Verified" not in judged(serving(), said)
    found = judged(replace(serving(), answer=Answer(Reason.ANSWERS, f"{URL}/v1 lists org/model")), said)
    assert found["Verified"].message.startswith(URL)


@pytest.mark.parametrize(
    ("spec", "facts", "kept"),
    [
        ({}, {}, True),
        ({"verify": False}, {}, False),
        ({"service": {"port": 80}}, {}, False),
        ({}, {"ready_replicas": 0}, False),
    ],
)
def test_what_was_said_stays_while_children_cannot_be_made(
    spec: dict[str, object], facts: dict[str, object], kept: bool
) -> None:
    previous = {"Verified": Transition("True", "Answers", "2026-01-01T00:00:00Z", LISTS)}
    stalled = Verdict(False, Reason.CHILD_REJECTED, "a quota", stalled=True)
    status = judge_blocked(serving(spec, **facts), stalled, previous=previous, now=NOW)
    found = [each for each in status.conditions or () if each.type == "Verified"]
    assert bool(found) is kept
    for each in found:
        assert (each.status, each.reason, each.message) == ("True", "Answers", LISTS)
        assert each.last_transition_time == "2026-01-01T00:00:00Z"

"""A rollout that has missed its deadline keeps the cause, and speaks of the present revision only."""

from dataclasses import replace
from typing import Any

import pytest

from tests.unit.situations import NOT_READY, SITUATIONS
from tests.unit.things import RECORD, claim, deployment, observed, pod, server
from vllm_operator.api.reasons import Reason
from vllm_operator.status.conditions import Verdict
from vllm_operator.status.server import readiness
from vllm_operator.status.view import View

LATE = {**NOT_READY, "progressing": "ProgressDeadlineExceeded"}
CAUSES = sorted(name for name, situation in SITUATIONS.items() if not situation.ready)


def judged(name: str, **facts: Any) -> Verdict:
    seen = SITUATIONS[name].seen
    failure = seen.deployment.failure if seen.deployment else ""
    late = deployment(**LATE | {"failure": failure} | facts)
    children = {**seen.children, ("Deployment", "chat"): late}
    return readiness(View(replace(seen, children=children), RECORD))


@pytest.mark.parametrize("name", CAUSES)
def test_the_cause_is_kept_with_its_remedy(name: str) -> None:
    told, situation = judged(name), SITUATIONS[name]
    assert (told.ready, told.reason, told.stalled) == (False, Reason.ROLLOUT_FAILED, True)
    assert "spec.rollout.progressDeadlineSeconds" in told.message
    assert f" {situation.reason}: " in told.message
    for words in situation.says:
        assert words in told.message


@pytest.mark.parametrize(
    "facts",
    [{"generation": 2}, {"record": "before"}, {"progressing": "ReplicaSetUpdated"}],
    ids=str,
)
def test_a_deadline_that_the_revision_before_has_missed_says_nothing(facts: dict[str, Any]) -> None:
    told = judged("crash_looping", **facts)
    assert (told.reason, told.stalled) == (Reason.CRASH_LOOPING, False)


def test_what_came_to_serve_late_is_ready() -> None:
    seen = observed(server(), deployment(), claim=claim(), pods=[pod()])
    assert readiness(View(seen, RECORD)).ready


def test_refused_pods_of_the_revision_before_say_nothing() -> None:
    seen = observed(server(), deployment(generation=2, failure="exceeded quota"), claim=claim())
    assert readiness(View(seen, RECORD)).reason == Reason.ROLLING_OUT

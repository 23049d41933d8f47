"""When a Deployment is through with a revision, and what else is said of a whole server."""

import pytest

from tests.unit.things import RECORD, claim, deployment, observed, pod, server, target
from vllm_operator.api.reasons import Reason
from vllm_operator.status.conditions import Transition, Verdict
from vllm_operator.status.server import judge, judge_blocked, judge_invalid, readiness
from vllm_operator.status.view import View

NOW = "2026-01-01T00:00:00Z"


def test_rolled_out() -> None:
    assert deployment().rolled_out(RECORD)
    assert deployment(wanted_replicas=0, replicas=0, updated_replicas=0, ready_replicas=0).rolled_out(RECORD)


@pytest.mark.parametrize(
    "facts",
    [
        {"record": "other"},
        {"record": None},
        {"generation": 2},
        {"progressing": "ReplicaSetUpdated"},
        {"progressing": "ProgressDeadlineExceeded"},
        {"progressing": ""},
        {"replicas": 2},
        {"ready_replicas": 0},  # an edit back to a template whose ReplicaSet still exists
        {"replicas": 0, "updated_replicas": 0},
    ],
    ids=str,
)
def test_not_rolled_out(facts: dict[str, object]) -> None:
    assert not deployment(**facts).rolled_out(RECORD)


def test_an_old_condition_beside_a_new_generation_is_not_believed() -> None:
    """The race of `rolled_out`: template and replicas changed together, and the controller scaled first."""
    scaled = deployment(generation=2, observed_generation=2, replicas=0, updated_replicas=0, ready_replicas=0)
    assert scaled.progressing == "NewReplicaSetAvailable"
    assert not scaled.rolled_out(RECORD)
    assert not readiness(View(observed(server(), scaled), target())).ready
    old_pods = deployment(generation=2, observed_generation=2, replicas=2, updated_replicas=0)
    assert not old_pods.rolled_out(RECORD)


def test_a_deployment_that_is_unseen_is_not_suspended() -> None:
    unseen = deployment(generation=2, wanted_replicas=0, replicas=0, updated_replicas=0, ready_replicas=0)
    assert readiness(View(observed(server(), unseen), target())).reason == Reason.ROLLING_OUT
    going = deployment(wanted_replicas=0, replicas=1, updated_replicas=0, progressing="ReplicaSetUpdated")
    assert readiness(View(observed(server(), going), target())).reason == Reason.ROLLING_OUT


def status_of(**facts: object) -> dict[str, tuple[str, str]]:
    seen = observed(server(), deployment(**facts), claim=claim(), pods=[pod()])
    found = judge(seen, target(), previous={}, now=NOW)
    return {c.type: (c.status, c.reason) for c in found.conditions or ()}


def test_available_counts_replicas_of_any_revision() -> None:
    assert status_of() == {"Ready": ("True", "Serving"), "Available": ("True", "Serving")}
    old = status_of(record="old")
    assert (old["Ready"][0], old["Available"]) == ("False", ("True", "Serving"))


def test_a_later_shortfall_shows_in_available_only() -> None:
    short = status_of(wanted_replicas=3, replicas=3, updated_replicas=3, ready_replicas=2)
    assert short == {"Ready": ("True", "Serving"), "Available": ("False", "RollingOut")}


def test_with_no_ready_replica_ready_is_false() -> None:
    none = status_of(ready_replicas=0)
    assert none["Ready"][0] == "False"
    assert none["Available"][0] == "False"


def test_suspended_is_ready_and_not_available() -> None:
    found = status_of(wanted_replicas=0, replicas=0, updated_replicas=0, ready_replicas=0)
    assert found == {"Ready": ("True", "Suspended"), "Available": ("False", "Suspended")}


def test_the_columns() -> None:
    seen = observed(
        server(generation=7), deployment(replicas=3, updated_replicas=3, ready_replicas=2), claim=claim()
    )
    found = judge(seen, target(image="i:1"), previous={}, now=NOW)
    assert (found.observed_generation, found.replicas, found.ready_replicas) == (7, 3, 2)
    assert (found.image, found.precision, found.url) == ("i:1", "bf16", "http://chat.ns.svc:8008")
    assert found.selector == "app.kubernetes.io/component=server,vllm-operator.dev/server=chat"
    assert {c.observed_generation for c in found.conditions or ()} == {7}


def test_replicas_that_another_manager_has_set_are_told() -> None:
    """Else an edit of spec.replicas would be without effect, and without a word."""
    held = {"wanted_replicas": 2, "replicas": 2, "updated_replicas": 2, "ready_replicas": 2}
    line = "`kubectl -n ns scale deployment/chat --replicas=1`"
    told = readiness(View(observed(server(), deployment(replicas_manager="hpa", **held)), target()))
    assert (told.ready, told.reason) == (True, Reason.SERVING)
    assert "hpa has set the Deployment to 2 replicas, not the 1 of spec.replicas" in told.message
    assert line in told.message
    same = deployment(replicas_manager="hpa")
    for silent in (deployment(**held), same):
        found = readiness(View(observed(server(), silent), target()))
        assert found.message == "Serves at http://chat.ns.svc:8008/v1"


def test_a_suspension_by_another_manager_is_told() -> None:
    facts = {"wanted_replicas": 0, "replicas": 0, "updated_replicas": 0, "ready_replicas": 0}
    by_hand = deployment(replicas_manager="kubectl", **facts)
    told = readiness(View(observed(server(), by_hand), target()))
    assert told.reason == Reason.SUSPENDED
    assert "`kubectl -n ns scale deployment/chat --replicas=1`" in told.message


def test_precision_is_said_only_of_bfloat16() -> None:
    seen = observed(server({"engineArgs": {"dtype": "float32"}}), deployment())
    assert judge(seen, target(), previous={}, now=NOW).precision is None


def test_a_server_whose_children_cannot_be_made() -> None:
    verdict = Verdict(False, Reason.NOT_OWNED, "not ours", stalled=True)
    found = judge_blocked(observed(), verdict, previous={}, now=NOW)
    assert [(c.type, c.status, c.reason) for c in found.conditions or ()] == [
        ("Ready", "False", "NotOwned"),
        ("Stalled", "True", "NotOwned"),
        ("Available", "False", "NotOwned"),
    ]
    assert (found.replicas, found.ready_replicas, found.image) == (0, 0, None)


def test_a_server_whose_children_cannot_be_made_may_still_answer() -> None:
    verdict = Verdict(False, Reason.NOT_OWNED, "not ours", stalled=True)
    found = judge_blocked(observed(server(), deployment()), verdict, previous={}, now=NOW)
    assert [(c.type, c.status) for c in found.conditions or ()][2] == ("Available", "True")
    assert (found.replicas, found.ready_replicas) == (1, 1)


def test_an_object_that_cannot_be_read() -> None:
    verdict = Verdict(False, Reason.INVALID_SPEC, "spec.x: is required", stalled=True)
    before = {"Ready": Transition("False", "RollingOut", "2025-01-01T00:00:00Z")}
    found = judge_invalid(3, verdict, previous=before, now=NOW)
    assert found.observed_generation == 3
    times = {c.type: (c.status, c.last_transition_time) for c in found.conditions or ()}
    assert times == {
        "Ready": ("False", "2025-01-01T00:00:00Z"),
        "Stalled": ("True", NOW),
        "Available": ("False", NOW),
    }

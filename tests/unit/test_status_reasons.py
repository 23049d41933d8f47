"""For each reason a case; without its check the case ends otherwise."""

from dataclasses import replace

import pytest

from tests.unit.situations import NOT_READY, SITUATIONS, WAITS_FOR_VOLUME, pending
from tests.unit.things import claim, deployment, observed, pod, server, target
from vllm_operator.api.observed import Observed
from vllm_operator.api.reasons import Reason
from vllm_operator.status import server as status
from vllm_operator.status.conditions import Verdict
from vllm_operator.status.server import readiness
from vllm_operator.status.view import View


def judged(seen: Observed) -> Verdict:
    return readiness(View(seen, target()))


def check_situation(name: str) -> None:
    situation = SITUATIONS[name]
    verdict = judged(situation.seen)
    assert (verdict.reason, verdict.ready, verdict.stalled) == (
        situation.reason,
        situation.ready,
        situation.stalled,
    )
    for words in situation.says:
        assert words in verdict.message


def test_suspended() -> None:
    check_situation("suspended")


def test_serving() -> None:
    check_situation("serving")


def test_child_rejected() -> None:
    check_situation("child_rejected")


def test_cache_unbound() -> None:
    check_situation("cache_unbound")


def test_image_pull_failed() -> None:
    check_situation("image_pull_failed")


def test_crash_looping() -> None:
    check_situation("crash_looping")


def test_unschedulable() -> None:
    check_situation("unschedulable")


def test_warming_up() -> None:
    check_situation("warming_up")


def test_secret_not_found() -> None:
    check_situation("secret_not_found")


def test_container_not_created() -> None:
    check_situation("container_not_created")


def test_mount_failed() -> None:
    check_situation("mount_failed")


def test_out_of_memory() -> None:
    check_situation("out_of_memory")


def test_artifacts_changed() -> None:
    check_situation("artifacts_changed")


def test_evicted() -> None:
    check_situation("evicted")


def test_rolling_out() -> None:
    """What is left when no check answers."""
    waiting = pending(waiting="ContainerCreating", waiting_message="mounting")
    verdict = judged(waiting)
    assert (verdict.reason, verdict.ready, verdict.stalled) == (Reason.ROLLING_OUT, False, False)
    assert "1 of 1 pods are of the revision asked for, 0 answer" in verdict.message
    assert "Pod chat-1 waits: ContainerCreating: mounting" in verdict.message
    assert judged(observed()).message == "Waiting for the Deployment controller"
    unseen = observed(server(), deployment(generation=2))
    assert judged(unseen).message == "Waiting for the Deployment controller"


@pytest.mark.parametrize("name", SITUATIONS)
def test_without_its_check_a_situation_is_judged_otherwise(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    situation = SITUATIONS[name]
    rest = tuple(check for check in status.READINESS if check.__name__ != situation.check)
    assert len(rest) == len(status.READINESS) - 1
    before = judged(situation.seen)
    monkeypatch.setattr(status, "READINESS", rest)
    assert judged(situation.seen).reason != before.reason
    with pytest.raises(AssertionError):
        check_situation(name)


def test_every_check_has_a_situation() -> None:
    assert {situation.check for situation in SITUATIONS.values()} == {c.__name__ for c in status.READINESS}


def test_a_claim_that_does_not_exist_is_named() -> None:
    seen = pending(unschedulable='persistentvolumeclaim "weights" not found')
    verdict = judged(replace(seen, server=server({"cache": {"claimName": "weights"}}), claim=None))
    assert verdict.reason == Reason.CACHE_UNBOUND
    assert "Claim weights does not exist" in verdict.message
    assert "spec.cache.claimName" in verdict.message


def test_a_bound_claim_is_not_blamed() -> None:
    assert judged(pending(unschedulable=WAITS_FOR_VOLUME)).reason == Reason.UNSCHEDULABLE


def test_a_crash_is_still_one_while_the_container_is_tried_again() -> None:
    again = pod(ready=False, exit_code=1)
    seen = observed(server(), deployment(**NOT_READY), claim=claim(), pods=[again])
    assert judged(seen).reason == Reason.CRASH_LOOPING
    assert "no last words" in judged(seen).message


def test_pods_of_other_revisions_and_pods_that_go_say_nothing() -> None:
    others = [
        pod(name="chat-0", record="old", ready=False, exit_code=1),
        pod(name="chat-2", deleting=True, ready=False, exit_code=1),
    ]
    seen = observed(server(), deployment(**NOT_READY), claim=claim(), pods=others)
    assert judged(seen).reason == Reason.ROLLING_OUT


def test_of_several_pods_the_first_by_name_speaks() -> None:
    pods = [pod(name=f"chat-{n}", ready=False, started_at="", exit_code=n) for n in (3, 2)]
    seen = observed(server(), deployment(**NOT_READY), claim=claim(), pods=pods)
    assert "exit code 2" in judged(seen).message

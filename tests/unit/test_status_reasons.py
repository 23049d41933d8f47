"""For each reason a case; without its check the case ends otherwise."""

from dataclasses import dataclass, replace

import pytest

from tests.unit.things import RECORD, claim, deployment, observed, pod, server
from vllm_operator.api.observed import Observed
from vllm_operator.api.reasons import Reason
from vllm_operator.status import server as status
from vllm_operator.status.conditions import Verdict
from vllm_operator.status.server import readiness
from vllm_operator.status.view import View

NOT_READY = {"updated_replicas": 1, "ready_replicas": 0, "progressing": "ReplicaSetUpdated"}
WAITS_FOR_VOLUME = "0/2 nodes are available: pod has unbound immediate PersistentVolumeClaims. not eligible."


@dataclass(frozen=True)
class Situation:
    """What is seen, the check that decides, and its verdict."""

    seen: Observed
    check: str
    reason: Reason
    ready: bool
    stalled: bool
    says: tuple[str, ...]


def pending(**facts: object) -> Observed:
    """A new pod that is not ready."""
    return observed(
        server(), deployment(**NOT_READY), claim=claim(), pods=[pod(ready=False, started_at="", **facts)]
    )


SITUATIONS = {
    "suspended": Situation(
        observed(server({"replicas": 0}), deployment(wanted_replicas=0, replicas=0, ready_replicas=0)),
        "suspended",
        Reason.SUSPENDED,
        True,
        False,
        ("`kubectl -n ns scale vllm/chat --replicas=1`",),
    ),
    "serving": Situation(
        observed(server(), deployment(), claim=claim(), pods=[pod()]),
        "serving",
        Reason.SERVING,
        True,
        False,
        ("http://chat.ns.svc:8008/v1",),
    ),
    "child_rejected": Situation(
        observed(server(), deployment(**NOT_READY, failure="exceeded quota: small"), claim=claim()),
        "pods_refused",
        Reason.CHILD_REJECTED,
        False,
        True,
        ("exceeded quota: small",),
    ),
    "cache_unbound": Situation(
        observed(
            server(),
            deployment(**NOT_READY),
            claim=claim(phase="Pending"),
            pods=[pod(ready=False, started_at="", unschedulable=WAITS_FOR_VOLUME)],
        ),
        "cache_unbound",
        Reason.CACHE_UNBOUND,
        False,
        False,
        ("chat-cache", "Pending", WAITS_FOR_VOLUME, "`kubectl -n ns describe pvc chat-cache`"),
    ),
    "image_pull_failed": Situation(
        pending(waiting="ImagePullBackOff", waiting_message="no such image"),
        "image_pull_failed",
        Reason.IMAGE_PULL_FAILED,
        False,
        False,
        ("no such image", "spec.imagePullSecrets"),
    ),
    "crash_looping": Situation(
        pending(
            waiting="CrashLoopBackOff",
            waiting_message="back-off",
            exit_code=2,
            last_words="error: \U0001f600\n",
        ),
        "crash_looping",
        Reason.CRASH_LOOPING,
        False,
        False,
        ("exit code 2", "error: \U0001f600.", "`kubectl -n ns logs chat-1 --previous`"),
    ),
    "unschedulable": Situation(
        pending(unschedulable="0/2 nodes are available: 2 Insufficient cpu."),
        "unschedulable",
        Reason.UNSCHEDULABLE,
        False,
        False,
        ("2 Insufficient cpu", "spec.resources"),
    ),
    "warming_up": Situation(
        observed(
            server({"warmup": {"timeoutSeconds": 3600}}),
            deployment(**NOT_READY),
            claim=claim(),
            pods=[pod(ready=False)],
        ),
        "warming_up",
        Reason.WARMING_UP,
        False,
        False,
        ("since 2026-01-02T03:04:05Z", "until 2026-01-02T04:04:05Z", "`kubectl -n ns logs -f chat-1`"),
    ),
}


def judged(seen: Observed) -> Verdict:
    return readiness(View(seen, RECORD))


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

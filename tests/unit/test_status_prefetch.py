"""What is said of a server whose cache is being filled: one case for each reason, and the way out of it."""

import json
from dataclasses import replace
from typing import Any

import pytest

from tests.unit.things import claim, job, observed, pod, server, target
from vllm_operator.api.observed import Cached, Observed, Prefetch
from vllm_operator.api.prefetch import FAILURES
from vllm_operator.api.reasons import Reason
from vllm_operator.api.seen import Child, PodFacts, Progress
from vllm_operator.status import jobs, prefetch
from vllm_operator.status.conditions import Verdict
from vllm_operator.status.server import judge, readiness
from vllm_operator.status.view import Hanging, View

NAME = "chat-prefetch-0123456789"
UID = f"uid-of-{NAME}"
WAITING = target("", prefetch=Prefetch(NAME, None))
NOW = "2026-01-02T03:05:00Z"
RETRY = f"`kubectl -n ns delete job {NAME}`"


def held(commit: str | None) -> Prefetch:
    return Prefetch(NAME, Cached(commit, "/data/hub") if commit else None)


def run(**facts: Any) -> PodFacts:
    """A pod of the Job that downloads."""
    plain = {"name": f"{NAME}-1", "record": None, "job": NAME, "job_uid": UID, "container": "prefetch"}
    return pod(**(plain | facts))


def ended(reason: str = "", message: str = "", **facts: Any) -> PodFacts:
    """A pod of the Job that has failed, with a report."""
    words = json.dumps({"reason": reason, "message": message}) if reason else ""
    plain = {"exit_code": 78, "last_words": words, "ended_at": NOW, "started_at": "", "ready": False}
    return run(**(plain | {"failure": "Failed"} | facts))


def seen(*pods: PodFacts, job_: Child | None = None, **more: Any) -> Observed:
    return replace(observed(server(), job_ or job(NAME), claim=claim(), pods=pods), **more)


def judged(found: Observed) -> Verdict:
    return readiness(View(found, WAITING, NOW))


def test_prefetching() -> None:
    verdict = judged(seen(run()))
    assert (verdict.ready, verdict.reason, verdict.stalled) == (False, Reason.PREFETCHING, False)
    assert "since 2026-01-02T03:04:05Z" in verdict.message
    assert f"`kubectl -n ns logs -f job/{NAME}`" in verdict.message
    far = judged(seen(run(), progress=Progress("download", 5_000, 140_000)))
    assert "Step download: 5,000 of 140,000 bytes." in far.message
    assert "Step resolve." in judged(seen(run(), progress=Progress("resolve", 0, 0))).message
    assert judged(seen()).reason == Reason.PREFETCHING


FAILED = job(NAME, failed="PodFailurePolicy: Container prefetch for pod failed with exit code 78")


@pytest.mark.parametrize("reason", FAILURES)
def test_a_reason_of_the_program_stalls_and_names_the_way_out(reason: str) -> None:
    verdict = judged(seen(ended(reason, "Accept the licence."), job_=FAILED))
    assert (verdict.reason, verdict.stalled) == (FAILURES[reason], True)
    assert verdict.message == f"Accept the licence. Then let it be tried again: {RETRY}"


def test_other_ends_are_told_in_the_last_words() -> None:
    verdict = judged(seen(ended(last_words="Traceback: no", exit_code=1), job_=FAILED))
    assert (verdict.reason, verdict.stalled) == (Reason.PREFETCH_FAILED, True)
    assert "exit code 1: Traceback: no" in verdict.message
    strange = judged(seen(ended("Serving", "all is well"), job_=FAILED))
    assert strange.reason == Reason.PREFETCH_FAILED, "a program gives no reasons but its own"
    killed = judged(seen(ended(end_reason="OOMKilled"), job_=FAILED))
    assert killed.reason == Reason.OUT_OF_MEMORY


def test_without_a_pod_the_job_controllers_words_are_left() -> None:
    verdict = judged(seen(job_=FAILED))
    assert verdict.reason == Reason.PREFETCH_FAILED
    assert FAILED.failed in verdict.message
    assert RETRY in verdict.message


def test_a_try_that_failed_is_followed_by_another() -> None:
    first = ended("HubUnreachable", "The hub does not answer.", exit_code=1)
    verdict = judged(seen(first))
    assert (verdict.reason, verdict.stalled) == (Reason.HUB_UNREACHABLE, False)
    assert verdict.message == "The hub does not answer. It is tried again"
    assert judged(seen(first, run(name=f"{NAME}-2"))).reason == Reason.PREFETCHING


def test_an_exit_code_that_no_try_helps_stalls_before_the_job_controller_says_so() -> None:
    verdict = judged(seen(ended("GatedModel", "Accept the licence.")))
    assert (verdict.reason, verdict.stalled) == (Reason.GATED_MODEL, True)
    assert RETRY in verdict.message


def test_pods_of_an_earlier_job_of_the_same_name_say_nothing() -> None:
    before = ended("GatedModel", "Accept the licence.", job_uid="uid-of-the-one-before")
    assert judged(seen(before)).reason == Reason.PREFETCHING
    assert list(View(seen(before), WAITING).hanging()), "the Job has no pod yet"


def test_a_report_that_cannot_be_read_is_shown_and_named() -> None:
    over = run(exit_code=0, last_words="Killed by a sidecar", ready=False, started_at="")
    verdict = judged(seen(over, job_=job(NAME, succeeded=True)))
    assert (verdict.reason, verdict.stalled) == (Reason.PREFETCH_FAILED, True)
    assert "is not what was asked for: Killed by a sidecar" in verdict.message
    assert RETRY in verdict.message
    assert not judged(seen(over)).stalled, "the Job controller has the word on whether the Job has ended"


def test_the_last_try_counts() -> None:
    old = ended("HubUnreachable", "old", ended_at="2026-01-01T00:00:00Z", name="z")
    new = ended("GatedModel", "new", name="a")
    assert judged(seen(old, new, job_=FAILED)).reason == Reason.GATED_MODEL


def pending(**facts: Any) -> PodFacts:
    return run(started_at="", ready=False, **facts)


@pytest.mark.parametrize(
    ("of", "reason"),
    [
        (pending(unschedulable="0/2 nodes are available: 2 Insufficient cpu."), Reason.UNSCHEDULABLE),
        (pending(waiting="ErrImagePull", waiting_message="no"), Reason.IMAGE_PULL_FAILED),
        (
            pending(waiting="CreateContainerConfigError", waiting_message='secret "hf" not found'),
            Reason.SECRET_NOT_FOUND,
        ),
        (pending(waiting="CreateContainerError", waiting_message="no"), Reason.CONTAINER_NOT_CREATED),
        (pending(failure="Evicted: The node was low on resource: memory."), Reason.EVICTED),
    ],
    ids=str,
)
def test_pods_of_the_job_are_judged_as_those_of_the_server(of: PodFacts, reason: Reason) -> None:
    assert judged(seen(of)).reason == reason


def test_a_node_without_room_beside_the_server_is_told_with_the_way_out() -> None:
    waits = pending(unschedulable="0/2 nodes are available: 1 Insufficient cpu.")
    verdict = judged(seen(waits, job_=job(NAME, beside=True)))
    assert (verdict.reason, verdict.stalled) == (Reason.UNSCHEDULABLE, False)
    assert (
        "1 Insufficient cpu. The prefetch runs beside the pods that hold claim chat-cache" in verdict.message
    )
    assert verdict.message.endswith("`kubectl -n ns scale vllm/chat --replicas=0`")
    assert judged(seen(waits)).message != verdict.message


def test_an_evicted_prefetch_goes_on_and_asks_for_no_resources() -> None:
    verdict = judged(seen(pending(failure="Evicted: The node was low on resource: memory.")))
    assert "The prefetch goes on in another pod" in verdict.message
    assert "spec.resources" not in verdict.message


def test_a_claim_without_a_volume_is_named() -> None:
    waits = pending(unschedulable="pod has unbound immediate PersistentVolumeClaims.")
    found = observed(server(), job(NAME), claim=claim(phase="Pending"), pods=[waits])
    assert judged(found).reason == Reason.CACHE_UNBOUND


def test_pods_that_are_refused_to_the_job_are_told_by_events() -> None:
    verdict = judged(seen(events={NAME: 'pods "x" is forbidden: exceeded quota: small'}))
    assert (verdict.reason, verdict.stalled) == (Reason.CHILD_REJECTED, True)
    assert "exceeded quota: small. Mend what it names" in verdict.message
    assert verdict.message.endswith(f"at once: {RETRY}")


def test_a_job_without_a_pod_hangs() -> None:
    hanging = Hanging(NAME, f"uid-of-{NAME}", "2026-01-02T03:04:05Z")
    assert list(View(seen(), WAITING).hanging()) == [hanging]
    for found in (seen(run()), seen(job_=FAILED), seen(job_=job(NAME, succeeded=True))):
        assert list(View(found, WAITING).hanging()) == []


def test_pods_of_the_server_do_not_speak_for_the_prefetch() -> None:
    crashed = pod(ready=False, exit_code=1)
    assert judged(seen(crashed, run())).reason == Reason.PREFETCHING
    serves = readiness(
        View(
            seen(crashed, ended("GatedModel", "no")),
            target(prefetch=held("c")),
        )
    )
    assert serves.reason != Reason.GATED_MODEL


CHECKS = [(jobs, "CHECKS"), (jobs, "LAST"), (prefetch, "OWN")]


@pytest.mark.parametrize(
    ("place", "name", "check"),
    [(place, name, check) for place, name in CHECKS for check in getattr(place, name)],
    ids=lambda part: getattr(part, "__name__", ""),
)
def test_every_check_decides_something(
    place: Any, name: str, check: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    situations = [
        seen(ended("GatedModel", "no"), job_=FAILED),
        seen(events={NAME: "exceeded quota"}),
        observed(server(), job(NAME), pods=[pending(unschedulable='persistentvolumeclaim "a" not found')]),
        seen(pending(waiting="ErrImagePull", waiting_message="no")),
        seen(pending(waiting="CreateContainerConfigError", waiting_message='secret "hf" not found')),
        seen(pending(waiting="CreateContainerError", waiting_message="no")),
        seen(pending(creating_since=NOW), events={f"{NAME}-1": "MountVolume failed"}),
        seen(pending(failure="Evicted: low")),
        seen(pending(unschedulable="no node")),
        seen(pending(unschedulable="no node"), job_=job(NAME, beside=True)),
        seen(ended("HubUnreachable", "no", exit_code=1)),
    ]
    before = [judged(found) for found in situations]
    monkeypatch.setattr(place, name, tuple(each for each in getattr(place, name) if each is not check))
    assert [judged(found) for found in situations] != before


def conditions(commit: str | None) -> dict[str, tuple[str, str]]:
    aim = target("" if commit is None else "r", prefetch=held(commit))
    found = judge(seen(run()), aim, previous={}, now=NOW)
    assert found.model_revision == commit
    return {c.type: (c.status, c.reason) for c in found.conditions or ()}


def test_the_cache_is_a_condition_of_its_own() -> None:
    assert conditions(None)["ModelCached"] == ("False", "Prefetching")
    assert conditions("c" * 40)["ModelCached"] == ("True", "Cached")
    without = judge(seen(), target(), previous={}, now=NOW)
    assert "ModelCached" not in {c.type for c in without.conditions or ()}


def test_a_server_of_an_operator_without_prefetch_has_no_cache_to_speak_of() -> None:
    kept = judge(seen(), target("r", prefetch=held(None)), previous={}, now=NOW)
    assert "ModelCached" not in {c.type for c in kept.conditions or ()}

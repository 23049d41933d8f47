"""What is said of a quantization: of its Jobs, of cards, of its result, and to the servers that name it."""

from typing import Any

import pytest

from tests.unit.quantized import (
    EXISTING,
    NOW,
    aim,
    calibration_job,
    ended,
    measured,
    measuring,
    observed,
    recorded,
)
from tests.unit.things import job, pod
from vllm_operator.api.quantized import ObservedQuantization, User
from vllm_operator.api.reasons import Reason, StalledError
from vllm_operator.api.seen import PodFacts, Progress
from vllm_operator.desired import names
from vllm_operator.status.conditions import Verdict
from vllm_operator.status.quantization import blocked, judge, judge_blocked, judge_invalid, readiness, state
from vllm_operator.status.view import View

CARDS = "0/1 nodes are available: 1 Insufficient habana.ai/gaudi."
ON_BF16 = User(name="chat", claim="own", held=True, cards=8, fp8=False)
ON_FP8 = User(name="fast", claim="own", held=True, cards=8, fp8=True)


def judged(found: ObservedQuantization) -> Verdict:
    return readiness(View(found, aim(found), NOW))


def waiting(*users: User, spec: dict[str, Any] | None = None, beside: bool = False, **of_pod: Any) -> Verdict:
    """A calibration whose pod does not run yet."""
    record, fingerprint = measuring(spec)
    of = calibration_job(fingerprint, beside=beside)
    return judged(observed(spec, record, of, pods=(waits(of.name, of.uid, **of_pod),), users=users))


def waits(name: str, uid: str, **facts: Any) -> PodFacts:
    plain: dict[str, Any] = {"record": None, "ready": False, "started_at": "", "exit_code": None}
    plain |= {"job": name, "job_uid": uid, "container": names.CALIBRATION}
    return pod(**(plain | facts))


def failing(said: Any, code: int = 78, component: str = names.CALIBRATION, **of_job: Any) -> Verdict:
    record, fingerprint = measuring()
    of = calibration_job(fingerprint, **of_job)
    return judged(observed(None, record, of, pods=(ended(of, said, code, component),)))


def test_cards_that_nobody_of_ours_has() -> None:
    verdict = waiting(unschedulable=CARDS)
    assert verdict.reason == Reason.WAITING_FOR_ACCELERATORS
    assert "needs 1 free cards on one node: free cards, or add nodes" in verdict.message


@pytest.mark.parametrize(
    ("user", "line"),
    [
        (ON_BF16, 'patch vllm chat --type=merge -p \'{"spec":{"fp8":{"whilePending":"Wait"}}}\''),
        (ON_FP8, "scale vllm/fast --replicas=0"),
    ],
)
def test_cards_that_a_server_has_which_names_it(user: User, line: str) -> None:
    verdict = waiting(user, unschedulable=CARDS)
    assert f"have cards: {user.name} (8). Nothing is taken from a server that serves." in verdict.message
    assert line in verdict.message
    assert "or add a node with free cards" in verdict.message
    held = waiting(user, unschedulable=CARDS, beside=True)
    assert "or give a claim that is ReadWriteMany and a node with free cards" in held.message
    assert not verdict.stalled


def test_no_room_where_the_claim_is_held() -> None:
    verdict = waiting(ON_BF16, unschedulable="1 Insufficient memory.", beside=True)
    assert verdict.reason == Reason.UNSCHEDULABLE
    assert "runs beside the pods that hold claim weights" in verdict.message
    assert waiting(unschedulable="1 Insufficient memory.").message.startswith("1 Insufficient memory. Free")


def test_a_dataset_that_is_not_there() -> None:
    verdict = waiting(unschedulable='persistentvolumeclaim "data" not found')
    assert verdict.message.startswith("Claim data of spec.dataset.persistentVolumeClaim does not exist")
    record, fingerprint = measuring()
    of = calibration_job(fingerprint)
    hangs = waits(of.name, of.uid, creating_since=NOW)
    words = 'MountVolume.SetUp failed for volume "dataset" : configmap "data" not found'
    said = judged(observed(None, record, of, pods=(hangs,), events={hangs.name: words}))
    assert said.reason == Reason.MOUNT_FAILED
    assert "Make what spec.dataset names" in said.message


def test_a_failure_that_another_try_may_mend() -> None:
    verdict = failing({"reason": "SamplesMissing", "message": "3 of 512."})
    assert (verdict.reason, verdict.stalled) == (Reason.SAMPLES_MISSING, True)
    retry = '`kubectl -n ns patch fp8q llama --type=merge -p \'{"spec":{"retry":1}}\'`'
    assert verdict.message == f"3 of 512. Then let it be tried again: {retry}"


@pytest.mark.parametrize("reason", ["DatasetInvalid", "OutOfDeviceMemory", "GenerationMismatch"])
def test_a_failure_that_the_spec_may_be_to_blame_for(reason: str) -> None:
    verdict = failing({"reason": reason, "message": "no."})
    assert verdict.reason == reason
    assert (
        "where the spec is to blame, `kubectl -n ns delete fp8q llama`, and apply it corrected"
        in verdict.message
    )


@pytest.mark.parametrize(
    ("said", "code", "job_", "reason", "words"),
    [
        (
            "oops",
            2,
            {"failed": "BackoffLimitExceeded: no"},
            "CalibrationFailed",
            "ended with exit code 2: oops",
        ),
        ("done", 0, {"succeeded": True}, "CalibrationFailed", "its report is not what was asked for: done"),
        ("", 137, {"failed": "DeadlineExceeded: too long"}, "DeadlineExceeded", "too long"),
        ("", 70, {}, "CalibrationFailed", "It is tried again"),
    ],
)
def test_other_ends(said: str, code: int, job_: dict[str, Any], reason: str, words: str) -> None:
    verdict = failing(said, code, **job_)
    assert verdict.reason == reason
    assert words in verdict.message
    assert verdict.stalled == bool(job_)


@pytest.mark.parametrize(
    ("limits", "of"), [({}, "what the node has"), ({"memory": "9Gi"}, "its limit of 9Gi")]
)
def test_memory(limits: dict[str, str], of: str) -> None:
    record, fingerprint = measuring({"resources": {"limits": limits}})
    killed = calibration_job(fingerprint, failed="BackoffLimitExceeded: no")
    end = ended(killed, "", 137, names.CALIBRATION, end_reason="OOMKilled")
    verdict = judged(observed({"resources": {"limits": limits}}, record, killed, pods=(end,)))
    assert verdict.reason == Reason.OUT_OF_MEMORY
    assert f"used more memory than {of}. Raise spec.resources.limits.memory" in verdict.message


def test_a_job_without_pods() -> None:
    record, fingerprint = measuring()
    gone = calibration_job(fingerprint, failed="BackoffLimitExceeded: no")
    assert judged(observed(None, record, gone)).reason == Reason.CALIBRATION_FAILED
    fetch = job(aim(observed()).job or "", uid="uid-fetch", failed="BackoffLimitExceeded: no")
    assert judged(observed(None, fetch)).reason == Reason.PREFETCH_FAILED


def test_a_remedy_that_names_a_field_says_how_to_change_it() -> None:
    verdict = waiting(waiting="ErrImagePull", waiting_message="no")
    assert "Check spec.image" in verdict.message
    assert (
        "where the spec is to blame, `kubectl -n ns delete fp8q llama`, and apply it corrected"
        in verdict.message
    )
    stalled = Verdict(False, Reason.INVALID_FOR_ENGINE, "spec.engine: no profile", stalled=True)
    said = judge_blocked(observed(), stalled, previous={}, now=NOW).conditions or []
    assert "apply it corrected" in said[0].message


def test_what_goes_on() -> None:
    fetch = job(aim(observed()).job or "", uid="uid-fetch")
    assert judged(observed(None, fetch)).reason == Reason.PREFETCHING
    assert waiting().message.endswith("waits for its pod")
    assert "measures the model since 2026" in waiting(started_at=NOW).message
    there = observed(EXISTING)
    of = calibration_job(aim(there).fingerprint or "")
    runs = waits(of.name, of.uid, started_at=NOW)
    assert "checks the files in /data/inc/model since" in judged(observed(EXISTING, of, pods=(runs,))).message


def test_the_status_of_a_result() -> None:
    found = observed(None, recorded(measured(), 2), users=(ON_BF16,))
    status = judge(found, aim(found), previous={}, now=NOW)
    said = {each.type: (each.status, each.reason) for each in status.conditions or ()}
    assert said == dict.fromkeys(("Ready", "Calibrated", "ArtifactsVerified"), ("True", "Calibrated"))
    assert (status.generation, status.world_size, status.samples) == ("g2", 1, 512)
    assert status.artifacts is not None
    assert (status.artifacts.files, status.artifacts.bytes, status.artifacts.sha256) == (9, 99, "f" * 64)
    assert (status.job_name, status.progress, status.used_by) == (None, None, ["chat"])
    with_job = measured()
    assert (
        judge(with_job, aim(with_job), previous={}, now=NOW).job_name
        == aim(observed(None, *measuring()[:1])).job
    )


def test_mixtral_has_its_caveat() -> None:
    spec = {"model": {"name": "mistralai/Mixtral-8x7B-Instruct-v0.1", "trustRemoteCode": True}}
    assert "Of Mixtral, attention and the last layer stay in BF16" in judged(measured(spec)).message
    assert "Mixtral" not in judged(measured()).message


@pytest.mark.parametrize(
    ("done", "step", "message"),
    [
        (Progress("measure", 128, 512, 3), 2, "measure 128 of 512, 3 min left"),
        (Progress("quantize", 0, 0), 4, "quantize"),
        (Progress("download", 1000, 2000), 0, "download 1,000 of 2,000"),
    ],
)
def test_progress(done: Progress, step: int, message: str) -> None:
    record, fingerprint = measuring()
    found = observed(None, record, calibration_job(fingerprint), progress=done)
    said = judge(found, aim(found), previous={}, now=NOW).progress
    assert said is not None
    assert (said.step, said.steps, said.done, said.total) == (step, 7, done.done, done.total)
    assert said.message == message


def test_what_cannot_be_made_or_read_is_said() -> None:
    verdict = Verdict(False, Reason.CHILD_REJECTED, "no", stalled=True)
    for status in (
        judge_blocked(observed(), verdict, previous={}, now=NOW),
        judge_invalid(1, verdict, previous={}, now=NOW),
    ):
        said = {each.type: (each.status, each.reason) for each in status.conditions or ()}
        assert said["Ready"] == ("False", "ChildRejected")
        assert said["Stalled"] == ("True", "ChildRejected")
        assert said["Calibrated"] == ("False", "ChildRejected")


def test_what_servers_see() -> None:
    done = state(View(measured(), aim(measured()), NOW))
    assert done.result is not None
    assert (done.model, done.claim, done.world_size, done.failure, done.waits) == (
        "org/Model",
        "weights",
        1,
        "",
        "",
    )
    record, fingerprint = measuring()
    of = calibration_job(fingerprint)
    short = observed(None, record, of, pods=(waits(of.name, of.uid, unschedulable=CARDS),))
    assert state(View(short, aim(short), NOW)).waits == "WaitingForAccelerators"
    failed = observed(
        None, record, of, pods=(ended(of, {"reason": "UnifyFailed", "message": "x"}, 78, names.CALIBRATION),)
    )
    assert state(View(failed, aim(failed), NOW)).failure.startswith("UnifyFailed: x")


def test_a_stalled_error_is_a_failure_to_servers() -> None:
    assert blocked(StalledError(Reason.INVALID_FOR_ENGINE, "no")).failure == "InvalidForEngine: no"

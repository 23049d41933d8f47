"""What is kept of a pod, from statuses as a kubelet writes them (k8s.io/kubernetes v1.36.3, pkg/kubelet)."""

from typing import Any

import pytest

from vllm_operator.controller.facts import pod

SCHEDULED = "2026-01-02T03:04:05Z"
STARTED = "2026-01-02T03:05:00Z"
LOW = "The node was low on resource: memory. Threshold quantity: 100Mi, available: 52Mi. "


def body(
    state: dict[str, Any] | None = None,
    last: dict[str, Any] | None = None,
    *,
    ready: bool = False,
    scheduled: dict[str, Any] | None = None,
    **status: Any,
) -> dict[str, Any]:
    """A pod; without `state` the kubelet has said nothing of its container yet."""
    placed = scheduled or {"status": "True", "lastTransitionTime": SCHEDULED}
    conditions = [{"type": "PodScheduled"} | placed, {"type": "Ready", "status": str(ready)}]
    container = {"name": "vllm", "state": state, "lastState": last or {}, "ready": ready}
    sidecar = {"name": "mesh", "state": {"waiting": {"reason": "ImagePullBackOff"}}, "lastState": {}}
    return {
        "metadata": {"name": "chat-1", "uid": "u", "labels": {"vllm-operator.dev/record": "abc"}},
        "status": {"phase": "Pending", "conditions": conditions}
        | ({"containerStatuses": [sidecar, container]} if state else {})
        | status,
    }


def terminated(code: int, reason: str, **more: Any) -> dict[str, Any]:
    return {"terminated": {"exitCode": code, "reason": reason, **more}}


def waiting(reason: str, message: str = "") -> dict[str, Any]:
    return {"waiting": {"reason": reason} | ({"message": message} if message else {})}


def test_a_running_pod() -> None:
    found = pod(body({"running": {"startedAt": STARTED}}, ready=True, phase="Running"))
    assert (found.name, found.uid, found.record, found.deleting) == ("chat-1", "u", "abc", False)
    assert (found.ready, found.started_at) == (True, STARTED)
    assert (found.failure, found.unschedulable, found.creating_since, found.waiting) == ("", "", "", "")
    assert (found.exit_code, found.end_reason, found.last_words) == (None, "", "")


def test_a_pod_without_a_status() -> None:
    found = pod({"metadata": {"name": "chat-1", "uid": "u", "deletionTimestamp": STARTED}})
    assert (found.record, found.deleting, found.ready, found.creating_since) == (None, True, False, "")


def test_a_pod_that_no_node_takes() -> None:
    words = "0/2 nodes are available: 2 Insufficient cpu."
    unplaced = {"status": "False", "reason": "Unschedulable", "message": words}
    found = pod(body(scheduled=unplaced | {"lastTransitionTime": SCHEDULED}))
    assert (found.unschedulable, found.creating_since) == (words, "")
    gated = unplaced | {"reason": "SchedulingGated"}
    assert pod(body(scheduled=gated)).unschedulable == ""


@pytest.mark.parametrize("reason", ["ContainerCreating", "PodInitializing"])
def test_a_container_that_is_being_made(reason: str) -> None:
    found = pod(body(waiting(reason)))
    assert (found.creating_since, found.waiting, found.waiting_message) == (SCHEDULED, reason, "")


@pytest.mark.parametrize(
    ("reason", "message"),
    [
        ("CreateContainerConfigError", 'secret "hf" not found'),
        ("CreateContainerConfigError", "couldn't find key HF_TOKEN in Secret ns/hf"),
        ("ErrImagePull", "not found"),
        ("CrashLoopBackOff", "back-off 10s restarting failed container=vllm pod=chat-1_ns(u)"),
    ],
)
def test_a_container_that_waits_is_not_being_made(reason: str, message: str) -> None:
    found = pod(body(waiting(reason, message)))
    assert (found.creating_since, found.waiting, found.waiting_message) == ("", reason, message)


def test_a_container_that_was_killed_for_its_memory() -> None:
    """As it stands, while the back-off runs, and while it is tried again."""
    killed = terminated(137, "OOMKilled", startedAt=SCHEDULED, finishedAt=STARTED)
    for found in (
        pod(body(killed, phase="Running")),
        pod(body(waiting("CrashLoopBackOff"), killed, phase="Running")),
        pod(body({"running": {"startedAt": STARTED}}, killed, phase="Running")),
    ):
        assert (found.exit_code, found.end_reason, found.last_words) == (137, "OOMKilled", "OOMKilled")
        assert found.failure == ""


def test_the_newest_end_counts() -> None:
    found = pod(body(terminated(1, "Error", message="second"), terminated(137, "OOMKilled")))
    assert (found.exit_code, found.end_reason, found.last_words) == (1, "Error", "second")


def test_last_words_carry_no_token() -> None:
    found = pod(body(terminated(1, "Error", message="401 for hf_abcdefghIJKLmnopqrSTUVwxyz12345678.")))
    assert found.last_words == "401 for hf_***."


@pytest.mark.parametrize(
    ("status", "failure"),
    [
        ({"reason": "Evicted", "message": LOW}, f"Evicted: {LOW.strip()}"),
        ({"reason": "OutOfcpu", "message": "Pod was rejected: x"}, "OutOfcpu: Pod was rejected: x"),
        ({"reason": "Terminated"}, "Terminated"),
        ({}, "Failed"),
    ],
)
def test_a_pod_that_has_failed_as_a_whole(status: dict[str, Any], failure: str) -> None:
    found = pod(body(terminated(137, "ContainerStatusUnknown"), phase="Failed", **status))
    assert found.failure == failure


def test_a_failed_pod_makes_no_container_any_more() -> None:
    """It stays for hours, and nobody may be asked about it for so long."""
    found = pod(body(waiting("ContainerCreating"), phase="Failed", reason="Evicted"))
    assert found.creating_since == ""


def test_a_reason_alone_is_no_failure() -> None:
    assert pod(body({"running": {"startedAt": STARTED}}, phase="Running", reason="NodeLost")).failure == ""


def begun(
    *first: dict[str, Any], state: dict[str, Any] | None = None, labels: dict[str, str] | None = None
) -> dict[str, Any]:
    """A pod with containers that come before vLLM."""
    found = body(state or waiting("PodInitializing"), initContainerStatuses=list(first))
    found["metadata"]["labels"] |= labels or {}
    return found


def verify(state: dict[str, Any], last: dict[str, Any] | None = None, name: str = "verify") -> dict[str, Any]:
    return {"name": name, "state": state, "lastState": last or {}, "ready": False}


RUNNING = {"running": {"startedAt": STARTED}}
DONE = terminated(0, "Completed")


def test_a_container_before_ours_that_fails_is_the_one_that_is_told_of() -> None:
    report = '{"reason": "ArtifactsChanged", "message": "m"}'
    failed = terminated(78, "Error", message=report)
    for again in (verify(failed), verify(waiting("CrashLoopBackOff"), failed), verify(RUNNING, failed)):
        found = pod(begun(again))
        assert (found.container, found.exit_code, found.last_words) == ("verify", 78, report)
        assert found.creating_since == ""


def test_a_container_before_ours_that_waits_or_runs() -> None:
    found = pod(begun(verify(waiting("ImagePullBackOff", "no such image"))))
    assert (found.container, found.waiting, found.waiting_message) == (
        "verify",
        "ImagePullBackOff",
        "no such image",
    )
    found = pod(begun(verify(RUNNING)))
    assert (found.container, found.started_at, found.creating_since) == ("verify", STARTED, "")
    # Nothing is made yet: volumes are waited for, and Events tell of these.
    found = pod(begun(verify(waiting("PodInitializing"))))
    assert (found.container, found.creating_since) == ("verify", SCHEDULED)


def test_once_it_has_ended_well_ours_is_told_of() -> None:
    assert pod(begun(verify(DONE))).container == "vllm"
    assert pod(begun(verify(DONE), state=waiting("ErrImagePull"))).waiting == "ErrImagePull"
    crashed = body(terminated(1, "Error"), initContainerStatuses=[verify(DONE)])
    assert (pod(crashed).container, pod(crashed).exit_code) == ("vllm", 1)


def test_containers_of_others_are_told_of_only_in_trouble() -> None:
    mesh = verify(waiting("ErrImagePull", "no"), name="mesh")
    assert (pod(begun(mesh)).container, pod(begun(mesh)).waiting) == ("mesh", "ErrImagePull")
    # One that goes on beside ours has started; ours is what a start depends on.
    assert pod(begun(verify(RUNNING, name="mesh"))).container == "vllm"
    assert pod(begun(verify(RUNNING, name="mesh"), verify(RUNNING))).container == "verify"
    assert pod(begun(mesh, state=RUNNING)).container == "vllm"


def test_pods_of_jobs_have_none_of_ours() -> None:
    labels = {"app.kubernetes.io/component": "prefetch"}
    found = begun(verify(terminated(1, "Error"), name="mesh"), labels=labels)
    found["metadata"]["ownerReferences"] = [{"kind": "Job", "name": "j", "uid": "u-j", "controller": True}]
    found["status"]["containerStatuses"][1]["name"] = "prefetch"
    assert (pod(found).job, pod(found).job_uid) == ("j", "u-j")
    assert pod(found).creating_since == SCHEDULED
    assert (pod(found).container, pod(found).exit_code) == ("prefetch", None)


def test_labels_make_no_pod_that_of_a_job() -> None:
    """Anybody may give them to a pod, and what it then reports would be believed."""
    labels = {"batch.kubernetes.io/controller-uid": "u-j", "batch.kubernetes.io/job-name": "j"}
    found = body(terminated(0, "Completed", message="x"))
    found["metadata"]["labels"] |= labels | {"app.kubernetes.io/component": "calibration"}
    assert (pod(found).job, pod(found).job_uid) == (None, None)


def test_paths_are_no_tokens() -> None:
    words = '{"output": "/data/inc/0f3e/hf_checkpoints"}'
    assert pod(body(terminated(0, "Completed", message=words))).last_words == words

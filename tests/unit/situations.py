"""For each reason a server that it is given to, and what the message must say."""

from dataclasses import dataclass, replace
from typing import Any

from tests.unit.things import claim, deployment, observed, pod, server
from vllm_operator.api.observed import Observed
from vllm_operator.api.reasons import Reason

NOT_READY = {"updated_replicas": 1, "ready_replicas": 0, "progressing": "ReplicaSetUpdated"}
LOW = "The node was low on resource: memory. Threshold quantity: 100Mi, available: 52Mi. "
NO_MEMORY = "0/2 nodes are available: 2 Insufficient memory."
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


def pending(spec: dict[str, Any] | None = None, **facts: object) -> Observed:
    """A new pod that is not ready."""
    waiting = pod(ready=False, started_at="", **facts)
    return observed(server(spec), deployment(**NOT_READY), claim=claim(), pods=[waiting])


def hanging(words: str, spec: dict[str, Any] | None = None) -> Observed:
    """A pod whose container is being made, and what Events say of its volumes."""
    seen = pending(spec, waiting="ContainerCreating", creating_since="2026-01-02T03:04:05Z")
    return replace(seen, events={"chat-1": words})


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
        ("exceeded quota: small.", "`kubectl -n ns rollout restart deployment/chat`"),
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
        ("no such image.", "spec.imagePullSecrets", "`kubectl -n ns describe pod chat-1`"),
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
        ("2 Insufficient cpu. Free", "spec.resources", "`kubectl describe nodes`"),
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
    "secret_not_found": Situation(
        pending(
            {"model": {"name": "org/model", "tokenSecretRef": {"name": "hf"}}},
            waiting="CreateContainerConfigError",
            waiting_message='secret "hf" not found',
        ),
        "secret_not_found",
        Reason.SECRET_NOT_FOUND,
        False,
        False,
        (
            'secret "hf" not found. Make what spec.model.tokenSecretRef names',
            "`kubectl -n ns create secret generic hf --from-literal=HF_TOKEN=...`",
        ),
    ),
    "container_not_created": Situation(
        pending(waiting="CreateContainerError", waiting_message="failed to reserve container name"),
        "container_not_created",
        Reason.CONTAINER_NOT_CREATED,
        False,
        False,
        ("CreateContainerError: failed to reserve container name.", "`kubectl -n ns describe pod chat-1`"),
    ),
    "mount_failed": Situation(
        hanging('MountVolume.SetUp failed for volume "pvc-1" : mount failed: exit status 32'),
        "mount_failed",
        Reason.MOUNT_FAILED,
        False,
        False,
        ("exit status 32. Mend claim chat-cache or its volume", "`kubectl -n ns describe pod chat-1`"),
    ),
    "out_of_memory": Situation(
        pending(
            {"resources": {"limits": {"memory": "24Gi"}}},
            waiting="CrashLoopBackOff",
            waiting_message="back-off 10s restarting failed container=vllm",
            exit_code=137,
            end_reason="OOMKilled",
            last_words="OOMKilled",
        ),
        "out_of_memory",
        Reason.OUT_OF_MEMORY,
        False,
        False,
        (
            "pod chat-1 used more memory than its limit of 24Gi. Raise spec.resources.limits.memory",
            "spec.cpu.kvCache",
            "spec.shmSize counts too",
            "`kubectl -n ns logs chat-1 --previous`",
        ),
    ),
    "artifacts_changed": Situation(
        pending(
            container="verify",
            waiting="CrashLoopBackOff",
            waiting_message="back-off 10s restarting failed container=verify",
            exit_code=78,
            end_reason="Error",
            last_words='{"reason": "ArtifactsChanged", "message": "/data/inc/f/a.npz has another content."}',
        ),
        "artifacts_changed",
        Reason.ARTIFACTS_CHANGED,
        False,
        True,
        (
            "Pod chat-1 does not start vLLM: /data/inc/f/a.npz has another content. To calibrate again: ",
            "`kubectl -n ns delete fp8q NAME`",
            "`kubectl -n ns logs chat-1 -c verify`",
        ),
    ),
    "evicted": Situation(
        observed(
            server(),
            deployment(**NOT_READY),
            claim=claim(),
            pods=[
                pod(ready=False, failure=f"Evicted: {LOW}", exit_code=137, started_at=""),
                pod(name="chat-2", ready=False, started_at="", unschedulable=f"{NO_MEMORY} "),
            ],
        ),
        "evicted",
        Reason.EVICTED,
        False,
        False,
        (
            f"pod chat-1, or not taken it: Evicted: {LOW.strip()} No node takes the next one: "
            f"{NO_MEMORY} Ask",
            "spec.resources.requests",
            "`kubectl -n ns describe pod chat-1`",
        ),
    ),
}

"""What keeps a server's pods from answering: one check for each cause."""

import re
from collections.abc import Iterator
from datetime import datetime, timedelta

from vllm_operator.api.gaudi import CARD
from vllm_operator.api.reasons import Reason
from vllm_operator.desired import names
from vllm_operator.status.conditions import Verdict
from vllm_operator.status.view import View

IMAGE_PULL_REASONS = frozenset(
    {"ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName", "ImageInspectError"}
)
"""Reasons for which the kubelet keeps a container waiting for its image (k8s.io/kubernetes v1.36.3,
pkg/kubelet/images/types.go)."""
NOT_CREATED_REASONS = frozenset({"CreateContainerConfigError", "CreateContainerError", "RunContainerError"})
"""Reasons for which the kubelet cannot make a container (pkg/kubelet/kuberuntime/kuberuntime_container.go,
pkg/kubelet/container/sync_result.go)."""
OOM_KILLED = "OOMKilled"
VOLUME_CONFLICT = "volume node affinity conflict"
"""The scheduler's words (k8s.io/kubernetes v1.36.3, pkg/scheduler/framework/plugins/volumebinding)."""
MULTI_ATTACH = "Multi-Attach error"
"""How an Event begins of a volume that another node holds (pkg/volume/util/operationexecutor)."""


def cache_unbound(view: View) -> Verdict | None:
    """The pod waits for its claim, and the claim has no volume."""
    claim, name = view.observed.claim, names.claim(view.server)
    pod = view.first(lambda pod: "persistentvolume" in pod.unschedulable.lower().replace(" ", ""))
    if pod is None or (claim is not None and claim.phase == "Bound"):
        return None
    if claim is None:
        message = f"Claim {name} does not exist: create it, or name another in spec.cache.claimName"
    else:
        message = (
            f"Claim {name} has no volume ({claim.phase}): {pod.unschedulable} "
            f"See {view.kubectl(f'describe pvc {name}')}; spec.cache.storageClassName chooses another class"
        )
    return Verdict(False, Reason.CACHE_UNBOUND, message)


def image_pull_failed(view: View) -> Verdict | None:
    """The kubelet cannot get the image."""
    pod = view.first(lambda pod: pod.waiting in IMAGE_PULL_REASONS)
    if pod is None:
        return None
    message = f"{pod.waiting}: {pod.waiting_message}. Check spec.image and spec.imagePullSecrets"
    return Verdict(False, Reason.IMAGE_PULL_FAILED, message)


def secret_not_found(view: View) -> Verdict | None:
    """The kubelet misses a Secret, or a key of one."""
    pod = view.first(
        lambda pod: (
            pod.waiting == "CreateContainerConfigError"
            and re.search(r"\bsecrets?\b", pod.waiting_message, re.IGNORECASE)
        )
    )
    if pod is None:
        return None
    path, name, key = next(
        ((path, name, key) for path, name, key in _secrets(view) if name in pod.waiting_message),
        ("spec.extraEnv", "NAME", "KEY"),
    )
    create = view.kubectl(f"create secret generic {name} --from-literal={key}=...")
    message = f"{pod.waiting_message}. Make what {path} names ({create}), or correct the field"
    return Verdict(False, Reason.SECRET_NOT_FOUND, message)


def _secrets(view: View) -> Iterator[tuple[str, str, str]]:
    """Path of the field, name and key of each Secret that a container of the server is given."""
    spec = view.server.spec
    if spec.model.token_secret_ref is not None:
        yield "spec.model.tokenSecretRef", spec.model.token_secret_ref.name, spec.model.token_secret_ref.key
    for index, variable in enumerate(spec.extra_env or ()):
        source = variable.value_from and variable.value_from.secret_key_ref
        if source:
            yield f"spec.extraEnv[{index}].valueFrom.secretKeyRef", source.name, source.key


def container_not_created(view: View) -> Verdict | None:
    """The kubelet cannot make the container for another reason."""
    pod = view.first(lambda pod: pod.waiting in NOT_CREATED_REASONS)
    if pod is None:
        return None
    describe = view.kubectl(f"describe pod {pod.name}")
    message = (
        f"{pod.waiting}: {pod.waiting_message}. Make what is missing, or change the spec. See {describe}"
    )
    return Verdict(False, Reason.CONTAINER_NOT_CREATED, message)


def mount_failed(view: View) -> Verdict | None:
    """The container waits for a volume, and Events say that it cannot be mounted."""
    pod = view.first(lambda pod: pod.creating_since and pod.name in view.observed.events)
    if pod is None:
        return None
    words = view.observed.events[pod.name]
    template = view.server.spec.model.chat_template
    where = f"claim {names.claim(view.server)}"
    if template is not None:
        where += f" and ConfigMap {template.config_map_key_ref.name} (spec.model.chatTemplate)"
    describe = view.kubectl(f"describe pod {pod.name}")
    if words.startswith(MULTI_ATTACH):
        message = f"{words}. It is free when the pods there have ended; see {describe}"
        return Verdict(False, Reason.CACHE_ON_OTHER_NODE, message)
    message = f"{words}. The pod needs {where}: make what is missing, or correct the field. See {describe}"
    return Verdict(False, Reason.MOUNT_FAILED, message)


def out_of_memory(view: View) -> Verdict | None:
    """A container was ended because of its memory, and is not ready again."""
    pod = view.first(lambda pod: pod.end_reason == OOM_KILLED and not pod.ready)
    if pod is None:
        return None
    limit = (view.server.spec.resources.limits or {}).get("memory")
    of = f"its limit of {limit}" if limit else "what the node has"
    message = (
        f"The container of pod {pod.name} used more memory than {of}. Raise spec.resources.limits.memory, or "
        "lower spec.cpu.kvCache, spec.engineArgs.maxModelLen or maxNumSeqs; spec.shmSize counts too"
    )
    return Verdict(False, Reason.OUT_OF_MEMORY, message)


def crash_looping(view: View) -> Verdict | None:
    """A container has ended and is not ready again.

    It stays so while the container is started again, or the status would swing with every try.
    """
    pod = view.first(lambda pod: pod.exit_code is not None and not pod.ready)
    if pod is None:
        return None
    logs = view.kubectl(f"logs {pod.name} --previous")
    words = pod.last_words.strip() or "no last words"
    message = f"Container ended with exit code {pod.exit_code}: {words}. See {logs}"
    return Verdict(False, Reason.CRASH_LOOPING, message)


def evicted(view: View) -> Verdict | None:
    """A pod has failed as a whole, and none that took its place has come to run a container."""
    failed = view.failed()
    if not failed or view.first(lambda pod: pod.started_at or pod.exit_code is not None):
        return None
    waiting = view.first(lambda pod: pod.unschedulable)
    then = f" No node takes the next one: {waiting.unschedulable}" if waiting else ""
    message = (
        f"Pod {failed[-1].name} was ended by its node: {failed[-1].failure}{then} Ask for what the pod needs "
        "in spec.resources.requests (memory, ephemeral-storage), or free the node"
    )
    return Verdict(False, Reason.EVICTED, message)


def unschedulable(view: View) -> Verdict | None:
    """No node takes a pod."""
    pod = view.first(lambda pod: pod.unschedulable)
    if pod is None:
        return None
    if VOLUME_CONFLICT in pod.unschedulable:
        claim = names.claim(view.server)
        message = (
            f"{pod.unschedulable} The volume of claim {claim} is bound to a node that cannot take it: free "
            "that node, change the placement, or name another claim in spec.cache.claimName"
        )
        return Verdict(False, Reason.CACHE_ON_OTHER_NODE, message)
    if f"Insufficient {CARD}" in pod.unschedulable:
        message = (
            f"{pod.unschedulable} Free cards, add nodes, or ask for fewer by spec.tensorParallelSize; who "
            "has them: `kubectl get pods -A -o wide`"
        )
        return Verdict(False, Reason.WAITING_FOR_ACCELERATORS, message)
    message = f"{pod.unschedulable} Free resources, add nodes, or ask for less in spec.resources"
    return Verdict(False, Reason.UNSCHEDULABLE, message)


def warming_up(view: View) -> Verdict | None:
    """A container runs and does not answer yet, or the Deployment has not counted it yet.

    The Deployment counts a pod some milliseconds after the pod says that it is ready; another reason in
    between would tell nobody anything.
    """
    answering = sum(pod.ready for pod in view.observed.pods)
    uncounted = view.deployment is None or view.deployment.ready_replicas < answering
    pod = view.first(lambda pod: pod.started_at and (uncounted or not pod.ready))
    if pod is None:
        return None
    until = _later(pod.started_at, view.server.spec.warmup.timeout_seconds)
    message = (
        f"Pod {pod.name} loads the model since {pod.started_at} and has until {until} "
        f"(spec.warmup.timeoutSeconds). See {view.kubectl(f'logs -f {pod.name}')}"
    )
    return Verdict(False, Reason.WARMING_UP, message)


def _later(start: str, seconds: int) -> str:
    return (datetime.fromisoformat(start) + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")

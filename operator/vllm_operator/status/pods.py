"""What keeps a server's pods from answering: one check for each cause."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from vllm_operator.api.gaudi import CARD
from vllm_operator.api.observed import Observed
from vllm_operator.api.reasons import Reason
from vllm_operator.api.seen import PodFacts
from vllm_operator.desired import names
from vllm_operator.status.conditions import Verdict
from vllm_operator.status.lastwords import ELSEWHERE, gist
from vllm_operator.status.view import View

IMAGE_PULL_REASONS = frozenset(
    {
        *("ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName", "ImageInspectError"),
        *("RegistryUnavailable", "SignatureValidationFailed"),
    }
)
"""Reasons for which the kubelet keeps a container waiting for its image (k8s.io/kubernetes v1.36.3,
pkg/kubelet/images/types.go; k8s.io/cri-api v0.36.3, pkg/errors)."""
NOT_CREATED_REASONS = frozenset({"CreateContainerConfigError", "CreateContainerError", "RunContainerError"})
"""Reasons for which the kubelet cannot make a container (pkg/kubelet/kuberuntime/kuberuntime_container.go,
pkg/kubelet/container/sync_result.go)."""
OOM_KILLED = "OOMKilled"
NOT_CACHED = "appropriate cached snapshot folder"
"""What huggingface_hub says where an offline server finds no model (0.36, _snapshot_download.py)."""
REFILL = "The cache does not hold the model any more: any new text in spec.rollout.refresh fetches it again."
VOLUME_CONFLICTS = ("didn't match PersistentVolume's node affinity", "volume node affinity conflict")
"""The scheduler's words now (k8s.io/kubernetes v1.36.3, pkg/scheduler/framework/plugins/volumebinding,
ErrReasonNodeConflict), and those of Kubernetes 1.30."""
MULTI_ATTACH = "Multi-Attach error"
"""How an Event begins of a volume that another node holds (pkg/volume/util/operationexecutor)."""

_NOT_FOUND = (
    re.compile(r'(?P<kind>secret|configmap) "(?P<name>[^"]+)" not found'),
    re.compile(r"couldn't find key (?P<key>\S+) in (?P<kind>Secret|ConfigMap) [^/\s]+/(?P<name>\S+)"),
)
"""The kubelet's words (k8s.io/kubernetes v1.36.3, pkg/kubelet/kubelet_pods.go, makeEnvironmentVariables).
What only could not be read in time is told in others, and passes by itself."""

_NO_CLAIM = re.compile(r'persistentvolumeclaim "(?P<name>[^"]+)" not found')
"""The scheduler's words (k8s.io/kubernetes v1.36.3, pkg/scheduler/framework/plugins/volumebinding)."""


def refused(who_are: str, words: str, again: str) -> Verdict:
    """The API server refuses pods that a controller makes."""
    message = (
        f"{who_are} refused: {words.rstrip('.')}. Mend what it names, or change the spec. It is tried "
        f"again ever more seldom; at once: {again}"
    )
    return Verdict(False, Reason.CHILD_REJECTED, message, stalled=True)


def cache_unbound(view: View) -> Verdict | None:
    """The pod waits for its claim, and the claim has no volume."""
    claim, name = view.observed.claim, names.claim(view.resource)
    pod = view.first(lambda pod: "persistentvolume" in pod.unschedulable.lower().replace(" ", ""))
    if pod is None or (claim is not None and claim.phase == "Bound"):
        return None
    missing = _NO_CLAIM.search(pod.unschedulable)
    if missing is not None and missing["name"] != name:
        message = f"Claim {missing['name']} of spec.dataset.persistentVolumeClaim does not exist: create it"
    elif claim is None:
        message = f"Claim {name} does not exist: create it, or name another in spec.cache.claimName"
    else:
        given = view.resource.spec.cache.claim_name is not None
        other = "spec.cache.claimName names another claim"
        if not given:
            other = "spec.cache.storageClassName chooses another class"
        message = (
            f"Claim {name} has no volume ({claim.phase}): {sentence(pod.unschedulable)} "
            f"See {view.kubectl(f'describe pvc {name}')}; {other}"
        )
    return Verdict(False, Reason.CACHE_UNBOUND, message)


def image_pull_failed(view: View) -> Verdict | None:
    """The kubelet cannot get the image."""
    pod = view.first(lambda pod: pod.waiting in IMAGE_PULL_REASONS)
    if pod is None:
        return None
    describe = view.kubectl(f"describe pod {pod.name}")
    message = (
        f"{pod.waiting}: {sentence(pod.waiting_message)} Check spec.image and spec.imagePullSecrets. "
        f"See {describe}"
    )
    return Verdict(False, Reason.IMAGE_PULL_FAILED, message)


@dataclass(frozen=True, slots=True)
class _Missing:
    """A Secret or ConfigMap that the kubelet did not find; with `key`, the object is there and lacks it."""

    kind: str
    name: str
    key: str | None


def _missing(pod: PodFacts) -> _Missing | None:
    found = next(filter(None, (pattern.fullmatch(pod.waiting_message) for pattern in _NOT_FOUND)), None)
    if pod.waiting != "CreateContainerConfigError" or found is None:
        return None
    return _Missing(found["kind"].lower(), found["name"], found.groupdict().get("key"))


def _remedy(view: View, missing: _Missing) -> str:
    """Which field names what is missing, and the line that makes it."""
    field, key = next(
        (
            (field, key)
            for kind, field, name, key in _references(view)
            if (kind, name) == (missing.kind, missing.name) and missing.key in (None, key)
        ),
        ("the pod's environment", missing.key or "KEY"),
    )
    if missing.key is None:
        kind = "secret generic" if missing.kind == "secret" else missing.kind
        line = view.kubectl(f"create {kind} {missing.name} --from-literal={key}=...")
    else:
        data = "stringData" if missing.kind == "secret" else "data"
        body = f'{{"{data}":{{"{key}":"..."}}}}'
        line = view.kubectl(f"patch {missing.kind} {missing.name} --type=merge -p '{body}'")
    return f"Make what {field} names ({line}), or correct the field"


def _references(view: View) -> Iterator[tuple[str, str, str, str]]:
    """Kind, path of the field, name and key of all from which the container's environment is filled."""
    spec = view.resource.spec
    # Of a server's pods only those that serve have the key.
    caller = view.server.spec.api_key_secret_ref if isinstance(view.observed, Observed) else None
    if caller is not None and not view.job:
        yield "secret", "spec.apiKeySecretRef", caller.name, caller.key
    token = spec.model.token_secret_ref
    if token is not None:
        yield "secret", "spec.model.tokenSecretRef", token.name, token.key
    for index, variable in enumerate(spec.extra_env or ()):
        source, path = variable.value_from, f"spec.extraEnv[{index}].valueFrom"
        if source and source.secret_key_ref:
            yield "secret", f"{path}.secretKeyRef", source.secret_key_ref.name, source.secret_key_ref.key
        if source and source.config_map_key_ref:
            reference = source.config_map_key_ref
            yield "configmap", f"{path}.configMapKeyRef", reference.name, reference.key


def secret_not_found(view: View) -> Verdict | None:
    """The kubelet misses a Secret, or a key of one."""
    for pod in view.pods():
        missing = _missing(pod)
        if missing is not None and missing.kind == "secret":
            message = f"{sentence(pod.waiting_message)} {_remedy(view, missing)}"
            return Verdict(False, Reason.SECRET_NOT_FOUND, message)
    return None


def container_not_created(view: View) -> Verdict | None:
    """The kubelet cannot make the container for another reason."""
    pod = view.first(lambda pod: pod.waiting in NOT_CREATED_REASONS)
    if pod is None:
        return None
    missing, describe = _missing(pod), view.kubectl(f"describe pod {pod.name}")
    remedy = _remedy(view, missing) if missing else f"Change the spec so that it can be made. See {describe}"
    message = f"{pod.waiting}: {sentence(pod.waiting_message)} {remedy}"
    return Verdict(False, Reason.CONTAINER_NOT_CREATED, message)


def mount_failed(view: View) -> Verdict | None:
    """The container waits for a volume, and Events say that it cannot be mounted."""
    pod = view.first(lambda pod: pod.name in view.observed.events)
    if pod is None:
        return None
    words = view.observed.events[pod.name]
    template = view.server.spec.model.chat_template if isinstance(view.observed, Observed) else None
    describe = view.kubectl(f"describe pod {pod.name}")
    if words.startswith(MULTI_ATTACH):
        message = f"{sentence(words)} It is free when the pods there have ended. See {describe}"
        return Verdict(False, Reason.CACHE_ON_OTHER_NODE, message)
    if template is not None and f'"{names.CHAT_TEMPLATE_VOLUME}"' in words:
        source = template.config_map_key_ref
        make = view.kubectl(
            f"create configmap {source.name} --from-file={source.key}=FILE --dry-run=client -o yaml"
        )
        apply = view.kubectl("apply --server-side -f -")
        remedy = (
            f"Make what spec.model.chatTemplate names ({make[:-1]} | {apply[1:]}), or name another ConfigMap"
        )
    elif f'"{names.DATASET_VOLUME}"' in words:
        remedy = f"Make what spec.dataset names. See {describe}"
    else:
        remedy = f"Mend claim {names.claim(view.resource)} or its volume. See {describe}"
    return Verdict(False, Reason.MOUNT_FAILED, f"{sentence(words)} {remedy}")


def out_of_memory(view: View) -> Verdict | None:
    """A container was ended because of its memory, and is not ready again."""
    pod = view.first(lambda p: p.end_reason == OOM_KILLED and not p.ready and p.container == names.CONTAINER)
    if pod is None:
        return None
    limit = (view.resource.spec.resources.limits or {}).get("memory")
    of = f"its limit of {limit}" if limit else "what the node has"
    message = (
        f"The container of pod {pod.name} used more memory than {of}. Raise spec.resources.limits.memory, or "
        "lower spec.cpu.kvCache, spec.engineArgs.maxModelLen or maxNumSeqs; spec.shmSize counts too. "
        f"How far it came: {view.kubectl(f'logs {pod.name} --previous')}"
    )
    return Verdict(False, Reason.OUT_OF_MEMORY, message)


def crash_looping(view: View) -> Verdict | None:
    """A container has ended and is not ready again.

    It stays so while the container is started again, or the status would swing with every try.
    """
    pod = view.first(lambda pod: pod.exit_code is not None and not pod.ready)
    if pod is None:
        return None
    words = gist(pod.last_words)
    # The engine's own words stand above those of the front, and are more than the kubelet keeps.
    search = " | grep Error:" if ELSEWHERE in words else ""
    other = "" if pod.container == names.CONTAINER else f" {pod.container}"
    logs = view.kubectl(f"logs {pod.name}{other and f' -c{other}'} --previous{search}")
    lost = f" {REFILL}" if NOT_CACHED in words else ""
    words = sentence(words) or "no last words."
    message = f"Container{other} ended with exit code {pod.exit_code}: {words}{lost} See {logs}"
    return Verdict(False, Reason.CRASH_LOOPING, message)


def evicted(view: View) -> Verdict | None:
    """A pod has failed as a whole, and none that took its place has come to run a container."""
    failed = view.failed()
    if not failed or view.first(lambda pod: pod.started_at or pod.exit_code is not None):
        return None
    waiting = view.first(lambda pod: pod.unschedulable)
    then = f" No node takes the next one: {sentence(waiting.unschedulable)}" if waiting else ""
    remedy = (
        "Ask for what the pod needs in spec.resources.requests (memory, ephemeral-storage), or free the node."
    )
    if view.job:
        remedy = f"The {failed[-1].container} goes on in another pod; free the node if that fails too."
    message = (
        f"Its node has ended pod {failed[-1].name}, or not taken it: {sentence(failed[-1].failure)}{then} "
        f"{remedy} See {view.kubectl(f'describe pod {failed[-1].name}')}"
    )
    return Verdict(False, Reason.EVICTED, message)


def unschedulable(view: View) -> Verdict | None:
    """No node takes a pod."""
    pod = view.first(lambda pod: pod.unschedulable)
    if pod is None:
        return None
    words = sentence(pod.unschedulable)
    if any(conflict in words for conflict in VOLUME_CONFLICTS):
        message = (
            f"{words} The volume of claim {names.claim(view.resource)} is on a node that cannot take it: "
            "free that node, change the placement, or name another claim in spec.cache.claimName"
        )
        return Verdict(False, Reason.CACHE_ON_OTHER_NODE, message)
    ending = view.ending()
    if ending is not None:
        message = f"{words} Pod {ending.name} ends, and frees what it holds"
        return Verdict(False, Reason.ROLLING_OUT, message)
    if isinstance(view.observed, Observed) and view.observed.freed:
        return Verdict(False, Reason.ROLLING_OUT, f"{words} A pod has just ended, and its place is looked at")
    if f"Insufficient {CARD}" in words:
        message = (
            f"{words} Free cards, add nodes, or ask for fewer by spec.tensorParallelSize. Who has them: "
            "`kubectl get pods -A -o wide`"
        )
        return Verdict(False, Reason.WAITING_FOR_ACCELERATORS, message)
    message = (
        f"{words} Free resources, add nodes, or ask for less in spec.resources. See `kubectl describe nodes`"
    )
    return Verdict(False, Reason.UNSCHEDULABLE, message)


def sentence(words: str) -> str:
    """Another's words, so that ours can follow."""
    words = words.strip()
    return words if not words or words.endswith((".", "!", "?")) else f"{words}."

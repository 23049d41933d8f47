"""From objects as the API server sends them to the facts that are kept of them."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from vllm_operator.api.fp8quantization import FP8Quantization
from vllm_operator.api.kinds import CLASSES
from vllm_operator.api.meta import GROUP
from vllm_operator.api.observed import (
    AUTOSCALER,
    Artifacts,
    AutoscalerFacts,
    Cached,
    DeploymentFacts,
    MicroserviceRecord,
    Quantization,
    RecordFacts,
    Said,
    Source,
)
from vllm_operator.api.quantity import canonical
from vllm_operator.api.quantized import QuantizationRecord
from vllm_operator.api.seen import Child, ClaimFacts, JobFacts, PodFacts, Ref
from vllm_operator.desired import names
from vllm_operator.desired.calibration import read_record as record_of_quantization
from vllm_operator.desired.canonical import IMMUTABLE, digest, owned
from vllm_operator.desired.engine import load_format
from vllm_operator.desired.records import ARTIFACTS, pack

Body = Mapping[str, Any]

CREATING = frozenset({"ContainerCreating", "PodInitializing"})
"""Reasons for which a container waits that is being made (k8s.io/kubernetes v1.36.3,
pkg/kubelet/kubelet_pods.go)."""

INITIALIZING = "PodInitializing"
"""Of them the one while containers before it have not ended yet."""

_TOKEN = re.compile(r"hf_[A-Za-z0-9]{30,}")
"""A Hugging Face token (34 characters after the line), which no log line may carry into a status. Paths in
reports begin like one, and must stay as they are."""


def resource_of(body: Body) -> Ref | None:
    """Kind and name of the resource of ours that an object belongs to.

    Its controller tells, so that a label that was edited away is found and put back. What has none of our
    kinds (pods, retained claims) is known by its label.
    """
    controller = _controller(body)
    if _is_ours(controller):
        return str(controller["kind"]), str(controller["name"])
    labels = body["metadata"].get("labels") or {}
    return next(((kind, str(labels[label])) for kind, label in _LABELS.items() if labels.get(label)), None)


_LABELS = {kind: names.label(kind) for kind in CLASSES}


def _controller(body: Body) -> Body:
    return next((o for o in body["metadata"].get("ownerReferences") or () if o.get("controller")), {})


def _is_ours(controller: Body) -> bool:
    return controller.get("kind") in CLASSES and controller["apiVersion"].startswith(f"{GROUP}/")


def child(kind: str, body: Body) -> Child:
    """The facts of a child of a resource of ours."""
    metadata, controller = body["metadata"], _controller(body)
    resource = resource_of(body)
    common = {
        "kind": kind,
        "name": metadata["name"],
        "uid": metadata["uid"],
        "resource_version": int(metadata["resourceVersion"]),
        "owner": controller.get("uid"),
        # Whatever its labels say, an object that something else controls is no resource's of ours.
        "resource": resource if not controller or _is_ours(controller) else None,
        "deleting": "deletionTimestamp" in metadata,
        "digest": b"" if kind in IMMUTABLE else digest(owned(body, names.FIELD_MANAGER)),
    }
    if kind == "ControllerRevision":
        return _revision(body, common)
    facts, more = _FACTS.get(kind, (Child, _nothing))
    return facts(**common, **more(body))


def _nothing(_: Body) -> dict[str, Any]:
    return {}


def _revision(body: Body, common: dict[str, Any]) -> Child:
    resource = common["resource"]
    if resource is not None and resource[0] == FP8Quantization.kind:
        return QuantizationRecord(**common, **record_of_quantization(body))
    if (body.get("data") or {}).get("component") == names.MICROSERVICE:
        return MicroserviceRecord(**common, **_microservice_record(body))
    return RecordFacts(**common, **_record(body))


def _deployment(body: Body) -> dict[str, Any]:
    spec, status = body["spec"], body.get("status") or {}
    conditions = {condition["type"]: condition for condition in status.get("conditions") or ()}
    failure = conditions.get("ReplicaFailure", {})
    return {
        "generation": body["metadata"]["generation"],
        "observed_generation": status.get("observedGeneration", 0),
        "record": (spec["template"]["metadata"].get("labels") or {}).get(names.RECORD),
        "wanted_replicas": spec.get("replicas", 1),
        "replicas_manager": _replicas_manager(body),
        "replicas": status.get("replicas", 0),
        "updated_replicas": status.get("updatedReplicas", 0),
        "ready_replicas": status.get("readyReplicas", 0),
        "progressing": conditions.get("Progressing", {}).get("reason", ""),
        "failure": failure.get("message", "") if failure.get("status") == "True" else "",
    }


def _autoscaler(body: Body) -> dict[str, Any]:
    conditions = (body.get("status") or {}).get("conditions") or ()
    said = {c["type"]: Said(c["status"], c.get("reason", ""), c.get("message", "")) for c in conditions}
    return {"able": said.get("AbleToScale"), "active": said.get("ScalingActive")}


def _replicas_manager(body: Body) -> str | None:
    """The manager that holds `spec.replicas`, if we do not hold it too."""
    managers = [
        (entry["manager"], entry["operation"])
        for entry in body["metadata"].get("managedFields") or ()
        if "f:replicas" in entry.get("fieldsV1", {}).get("f:spec", {})
    ]
    if not managers or (names.FIELD_MANAGER, "Apply") in managers:
        return None
    return str(managers[0][0])


def _claim(body: Body) -> dict[str, Any]:
    spec = body["spec"]
    return {
        "phase": (body.get("status") or {}).get("phase", "Pending"),
        "access_modes": tuple(spec.get("accessModes") or ()),
        "size": canonical(str(spec.get("resources", {}).get("requests", {}).get("storage", "0"))),
    }


def _record(body: Body) -> dict[str, Any]:
    data = body.get("data") or {}
    inputs = data.get("inputs") or {}
    pinned = inputs.get("defaultImage", False)
    return {
        "revision": body["revision"],
        "default_image": inputs.get("image") if pinned else None,
        "default_engine": inputs.get("engine") if pinned else None,
        "source": _source(inputs.get("spec", {})),
        "engine": inputs.get("engine", ""),
        "tensor_parallel_size": (inputs.get("spec") or {}).get("tensorParallelSize", 1),
        "quantization": _quantization(inputs.get("quantization")),
        "dynamic": ((inputs.get("spec") or {}).get("fp8") or {}).get("mode") == "Dynamic",
        "downloads": _downloads(inputs),
        "cached": Cached(inputs["commit"], inputs.get("hubCache", names.HUB)) if "commit" in inputs else None,
        "renderer": data.get("renderer", ""),
        "content": pack(data.get("template") or {}),
    }


def _microservice_record(body: Body) -> dict[str, Any]:
    data = body.get("data") or {}
    inputs = data.get("inputs") or {}
    return {
        "revision": body["revision"],
        "default_image": inputs.get("image") if inputs.get("defaultImage") else None,
        "refresh": inputs.get("refresh"),
        "renderer": data.get("renderer", ""),
        "content": pack(data.get("template") or {}),
    }


def _downloads(inputs: Body) -> bool:
    model = (inputs.get("spec") or {}).get("model") or {}
    return "commit" not in inputs and not model.get("offline") and not model.get("name", "").startswith("/")


def _quantization(found: Body | None) -> Quantization | None:
    name, *artifacts = ((found or {}).get(part) for part in ("name", *ARTIFACTS))
    if not all(isinstance(part, str) for part in (name, *artifacts)):
        return None
    return Quantization(str(name), Artifacts(*map(str, artifacts)))


def _source(spec: Body) -> Source:
    model, cache, rollout = (spec.get(part) or {} for part in ("model", "cache", "rollout"))
    return Source(
        model.get("name", ""),
        model.get("revision"),
        cache.get("claimName"),
        rollout.get("refresh"),
        model.get("trustRemoteCode", False),
        load_format(spec.get("extraArgs") or ()),
    )


def _job(body: Body) -> dict[str, Any]:
    affinity = (body["spec"]["template"]["spec"].get("affinity") or {}).get("podAffinity") or {}
    terms = affinity.get("requiredDuringSchedulingIgnoredDuringExecution") or ()
    conditions = {c["type"]: c for c in (body.get("status") or {}).get("conditions") or ()}
    failed = conditions.get("Failed", {})
    return {
        "created_at": body["metadata"]["creationTimestamp"],
        "succeeded": conditions.get("Complete", {}).get("status") == "True",
        "failed": f"{failed['reason']}: {failed['message']}" if failed.get("status") == "True" else "",
        "beside": any(_finds_servers(term.get("labelSelector") or {}) for term in terms),
        "retry": _number((body["metadata"].get("annotations") or {}).get(names.RETRY, "")),
    }


def _number(text: str) -> int:
    """A number of ours that stands where anybody may write."""
    return int(text) if re.fullmatch("[0-9]{1,10}", text, re.ASCII) else 0


def _finds_servers(selector: Body) -> bool:
    """Whether it is the selector of the pods that hold a cache: see `desired.jobs.beside`."""
    labels = selector.get("matchLabels") or {}
    return bool(labels.get(names.COMPONENT) == names.OF_SERVERS)


_FACTS: Mapping[str, tuple[type[Child], Callable[[Body], dict[str, Any]]]] = {
    AUTOSCALER: (AutoscalerFacts, _autoscaler),
    "Deployment": (DeploymentFacts, _deployment),
    "Job": (JobFacts, _job),
    "PersistentVolumeClaim": (ClaimFacts, _claim),
}


def pod(body: Body) -> PodFacts:
    """The facts of a pod."""
    metadata, status = body["metadata"], body.get("status") or {}
    labels = metadata.get("labels") or {}
    conditions = {condition["type"]: condition for condition in status.get("conditions") or ()}
    scheduled = conditions.get("PodScheduled", {})
    controller = _controller(body)
    # Labels anybody may give a pod; a controlling Job is what its controller has given it.
    of_job = controller.get("kind") == "Job"
    name = labels.get(names.COMPONENT, "") if of_job else names.CONTAINER
    container: Body = next((c for c in status.get("containerStatuses") or () if c["name"] == name), {})
    if not of_job:
        container = _deciding(status, container)
    state, last = container.get("state") or {}, container.get("lastState") or {}
    ended = state.get("terminated") or last.get("terminated") or {}
    waiting = state.get("waiting") or {}
    failed = status.get("phase") == "Failed"
    failure = (status.get("reason") or "Failed", (status.get("message") or "").strip()) if failed else ()
    creating = waiting.get("reason") in CREATING and not failed
    return PodFacts(
        name=metadata["name"],
        uid=metadata["uid"],
        record=labels.get(names.RECORD),
        job=controller["name"] if of_job else None,
        job_uid=controller["uid"] if of_job else None,
        container=container.get("name", name),
        deleting="deletionTimestamp" in metadata,
        ready=conditions.get("Ready", {}).get("status") == "True",
        failure=": ".join(filter(None, failure)),
        creating_since=scheduled.get("lastTransitionTime", "") if creating else "",
        unschedulable=scheduled.get("message", "") if scheduled.get("reason") == "Unschedulable" else "",
        waiting=waiting.get("reason", ""),
        waiting_message=waiting.get("message", ""),
        started_at=(state.get("running") or {}).get("startedAt") or "",
        exit_code=ended.get("exitCode"),
        end_reason=ended.get("reason", ""),
        ended_at=ended.get("finishedAt") or "",
        last_words=_TOKEN.sub("hf_***", ended.get("message") or ended.get("reason") or ""),
    )


def _deciding(status: Body, container: Body) -> Body:
    """The container that a start depends on: while others come before ours, the one that has not ended well.

    Those of others (a mesh puts its own before ours) are told of only where they are in trouble.
    """
    if _waiting(container) != INITIALIZING:
        return container
    for first in status.get("initContainerStatuses") or ():
        ended = (first.get("state") or {}).get("terminated") or {}
        if ended.get("exitCode") == 0:
            continue
        if first["name"] == names.VERIFY or ended or _waiting(first) not in ("", *CREATING):
            return dict(first)
    return container


def _waiting(container: Body) -> str:
    return str(((container.get("state") or {}).get("waiting") or {}).get("reason", ""))

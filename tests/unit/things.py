"""Servers and facts for tests: everything has a plain value, and a test names only what it is about."""

from collections.abc import Iterable
from typing import Any

from tests.cases.full import FULL
from tests.cases.table import Change, changed
from vllm_operator.api.observed import (
    Artifacts,
    Cached,
    DeploymentFacts,
    Observed,
    Prefetch,
    QuantizationState,
    RecordFacts,
    Source,
    Target,
)
from vllm_operator.api.seen import Child, ClaimFacts, JobFacts, PodFacts
from vllm_operator.api.vllmserver import VLLMServer
from vllm_operator.controller.facts import child as facts_of
from vllm_operator.desired import names
from vllm_operator.desired.defaults import Defaults, Image
from vllm_operator.desired.records import pack, renderer

DEFAULT_IMAGE = Image("registry.example/default:v1", "vllm 0.32")
GAUDI_IMAGE = Image("registry.example/gaudi:v1", "vllm-gaudi 0.26")
DEFAULT = Defaults({"cpu": DEFAULT_IMAGE, "gaudi": GAUDI_IMAGE})
EVERY_NODE = Defaults(DEFAULT.images, {}, {"g2": {"generation": "2"}, "g3": {"generation": "3"}})
"""DEFAULT of an operator that is told where each generation of cards is."""
RECORD = "0123456789"


def defaults(cpu: Image) -> Defaults:
    """Defaults with another image for servers on CPUs."""
    return Defaults({"cpu": cpu, "gaudi": GAUDI_IMAGE})


SMALL = {"model": {"name": "org/model"}, "device": "cpu", "cache": {"size": "10Gi"}, "prefetch": False}


def server(spec: dict[str, Any] | None = None, *, name: str = "chat", generation: int = 1) -> VLLMServer:
    """A small server; the fields of `spec` come on top."""
    metadata = {"name": name, "namespace": "ns", "uid": "uid-1", "generation": generation}
    return VLLMServer.parse({"metadata": metadata, "spec": SMALL | (spec or {})})


def full(change: Change | None = None) -> VLLMServer:
    """A server with every field set; `change` names dotted paths."""
    body = changed(change or {})
    body["metadata"] = {**FULL["metadata"], "namespace": "ns", "uid": "uid-1", "generation": 1}
    return VLLMServer.parse(body)


def _common(kind: str, name: str) -> dict[str, Any]:
    return {
        "kind": kind,
        "name": name,
        "uid": f"uid-of-{name}",
        "resource_version": 1,
        "owner": "uid-1",
        "resource": ("VLLMServer", "chat"),
        "deleting": False,
        "digest": b"",
    }


def child(kind: str, name: str, **facts: Any) -> Child:
    """A child of which nothing but the common facts is kept."""
    return Child(**(_common(kind, name) | facts))


def deployment(**facts: Any) -> DeploymentFacts:
    """A Deployment of which one replica of RECORD is rolled out and ready."""
    plain: dict[str, Any] = {
        "generation": 1,
        "observed_generation": 1,
        "record": RECORD,
        "wanted_replicas": 1,
        "replicas_manager": None,
        "replicas": 1,
        "updated_replicas": 1,
        "ready_replicas": 1,
        "progressing": "NewReplicaSetAvailable",
        "failure": "",
    }
    return DeploymentFacts(**(_common("Deployment", "chat") | plain | facts))


def claim(**facts: Any) -> ClaimFacts:
    """A bound claim of 10Gi."""
    plain: dict[str, Any] = {"phase": "Bound", "access_modes": ("ReadWriteOnce",), "size": "10Gi"}
    return ClaimFacts(**(_common("PersistentVolumeClaim", "chat-cache") | plain | facts))


def job(name: str, **facts: Any) -> JobFacts:
    """A Job that runs."""
    plain: dict[str, Any] = {"created_at": "2026-01-02T03:04:05Z", "succeeded": False}
    plain |= {"failed": "", "beside": False, "retry": 0}
    return JobFacts(**(_common("Job", name) | plain | facts))


def record(
    digest: str,
    revision: int,
    default: Image | None = DEFAULT_IMAGE,
    template: dict[str, Any] | None = None,
    *,
    refresh: str | None = None,
    cached: Cached | None = None,
    rendered_by: str = "",
) -> RecordFacts:
    """A record; `default` is the image that it pins, None if the spec named one."""
    return RecordFacts(
        **_common("ControllerRevision", names.record(server(), digest)),
        revision=revision,
        default_image=default.image if default else None,
        default_engine=default.engine if default else None,
        source=Source("org/model", None, None, refresh, False, None),
        cached=cached,
        engine=DEFAULT_IMAGE.engine,
        tensor_parallel_size=1,
        quantization=None,
        renderer=rendered_by or renderer(),
        content=pack(template or {"metadata": {"labels": {}}, "spec": {"containers": []}}),
    )


def pod(**facts: Any) -> PodFacts:
    """A pod of RECORD that is ready."""
    plain: dict[str, Any] = {
        "name": "chat-1",
        "uid": "uid-of-pod",
        "record": RECORD,
        "job": None,
        "job_uid": None,
        "container": "vllm",
        "deleting": False,
        "ready": True,
        "failure": "",
        "unschedulable": "",
        "creating_since": "",
        "waiting": "",
        "waiting_message": "",
        "started_at": "2026-01-02T03:04:05Z",
        "exit_code": None,
        "end_reason": "",
        "ended_at": "",
        "last_words": "",
    }
    return PodFacts(**(plain | facts))


ARTIFACTS = Artifacts(
    fingerprint="f00d",
    output="/data/inc/f00d/model",
    manifest="/data/inc/f00d/model/manifest.json",
    quant_config="/data/inc/f00d/model/maxabs_quant_g2.json",
    generation="g2",
    sha256="feed",
)


def quantization(**facts: Any) -> QuantizationState:
    """A quantization that is ready, and fits a small server on Gaudi."""
    plain: dict[str, Any] = {
        "model": "org/model",
        "revision": None,
        "commit": "",
        "claim": "chat-cache",
        "engine": GAUDI_IMAGE.engine,
        "world_size": 1,
        "result": ARTIFACTS,
        "failure": "",
        "waits": "",
    }
    return QuantizationState(**(plain | facts))


def target(record: str = RECORD, image: str = "i", *, prefetch: Prefetch | None = None) -> Target:
    """What is aimed at: by default the record that everything else is of."""
    return Target(record, image, False, prefetch)


def observed(
    of: VLLMServer | None = None,
    *children: Child,
    claim: ClaimFacts | None = None,
    pods: Iterable[PodFacts] = (),
    quantization: QuantizationState | None = None,
) -> Observed:
    """What was seen of a server."""
    found = [*children, *([claim] if claim else [])]
    by_ref = {(child.kind, child.name): child for child in found}
    return Observed(
        server=of or server(), children=by_ref, claim=claim, pods=tuple(pods), quantization=quantization
    )


def record_of(manifest: dict[str, Any]) -> RecordFacts:
    """The facts of a record that was rendered."""
    metadata = manifest["metadata"] | {
        "uid": f"uid-of-{manifest['metadata']['name']}",
        "resourceVersion": "1",
    }
    found = facts_of("ControllerRevision", manifest | {"metadata": metadata})
    assert isinstance(found, RecordFacts)
    return found


def kinds(manifests: Iterable[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Manifests by their kind; those of a microservice with that word before it."""
    return {_of(manifest) + manifest["kind"]: manifest for manifest in manifests}


def _of(manifest: dict[str, Any]) -> str:
    labels = manifest["metadata"].get("labels") or {}
    return "microservice " if labels.get(names.COMPONENT) == names.MICROSERVICE else ""

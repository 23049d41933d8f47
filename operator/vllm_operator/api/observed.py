"""What was seen in the cluster of one server, and what is aimed at."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

from vllm_operator.api.reasons import Reason
from vllm_operator.api.resource import MICROSERVICE_SUFFIX
from vllm_operator.api.seen import Answer, Child, Seen
from vllm_operator.api.vllmserver import VLLMServer

AUTOSCALER = "HorizontalPodAutoscaler"
POD_MONITOR = "PodMonitor"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeploymentFacts(Child):
    """A Deployment, as its controller describes it."""

    generation: int
    observed_generation: int
    record: str | None
    """Label of the record in the pod template."""
    wanted_replicas: int
    replicas_manager: str | None
    """Another field manager that holds `spec.replicas`."""
    replicas: int
    updated_replicas: int
    ready_replicas: int
    progressing: str
    """Reason of the Progressing condition."""
    failure: str
    """Message of the ReplicaFailure condition, where pods are refused."""

    def observed(self) -> bool:
        """Whether the Deployment controller has seen the latest spec."""
        return self.observed_generation >= self.generation

    def left_alone(self, wanted: int) -> bool:
        """Whether another manager has set a number of replicas that is not the one that we would write."""
        return bool(self.replicas_manager) and self.wanted_replicas != wanted

    def rolled_out(self, record: str) -> bool:
        """Whether the Deployment says that a record's template has replaced every other pod.

        `NewReplicaSetAvailable` alone is not enough: when a template and the replica count change
        together, the controller first scales and writes the new observedGeneration beside the old
        condition (k8s.io/kubernetes v1.36.3, pkg/controller/deployment, sync and syncDeploymentStatus).
        It then has no ReplicaSet of the new template, and so no updated replica. And where an edit goes back
        to a template whose ReplicaSet still exists, the old condition stays until its first pod is there.
        """
        return (
            self.record == record
            and self.observed()
            and self.progressing == "NewReplicaSetAvailable"
            and self.replicas == self.updated_replicas
            and (min(self.updated_replicas, self.ready_replicas) > 0 or self.wanted_replicas == 0)
        )


class Said(NamedTuple):
    """A condition in the words of somebody else's controller."""

    status: str
    reason: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AutoscalerFacts(Child):
    """A HorizontalPodAutoscaler, as its controller describes it."""

    able: Said | None
    """Whether it can read and write the number of replicas; None until it has tried."""
    active: Said | None
    """Whether it gets its metric; None until it has asked."""


class Source(NamedTuple):
    """What a cache was filled from: another one has to be fetched."""

    model: str
    revision: str | None
    claim: str | None
    """The claim that was given."""
    refresh: str | None
    trust_remote_code: bool
    load_format: str | None


@dataclass(frozen=True, slots=True)
class Cached:
    """A model in a cache."""

    commit: str
    hub: str
    """The folder that is to be HF_HUB_CACHE."""


class Artifacts(NamedTuple):
    """A verified result of a calibration, as servers use it."""

    fingerprint: str
    output: str
    """Folder in the cache."""
    manifest: str
    """File that lists the others with their checksums."""
    quant_config: str
    generation: str
    """`g2` or `g3`."""
    sha256: str
    """Of the manifest."""


class Quantization(NamedTuple):
    """The quantization that a record's pods serve with."""

    name: str
    artifacts: Artifacts


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordFacts(Child):
    """A ControllerRevision that holds the inputs and the rendered pod template of one revision."""

    revision: int
    default_image: str | None
    """Image that was pinned because the spec named none, and the engine that goes with it."""
    default_engine: str | None
    source: Source
    cached: Cached | None
    """What the cache held, where a prefetch has filled it."""
    engine: str
    """Family and version."""
    tensor_parallel_size: int
    quantization: Quantization | None
    """The quantization, where its pods serve in FP8 by one."""
    dynamic: bool = False
    """Whether its pods serve in FP8 without one."""
    downloads: bool = False
    """Whether its pods fetch the model themselves."""
    renderer: str
    """What has rendered the template: see `desired.records.renderer`."""
    content: bytes
    """The template, as compressed JSON."""

    @property
    def fp8(self) -> bool:
        """Whether its pods serve in FP8."""
        return self.dynamic or self.quantization is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class MicroserviceRecord(Child):
    """A ControllerRevision that holds the inputs and the rendered pod template of a microservice."""

    revision: int
    default_image: str | None
    """Image that was pinned because the spec named none."""
    refresh: str | None
    """`spec.rollout.refresh` when it was made."""
    renderer: str
    content: bytes
    """The template, as compressed JSON."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantizationState:
    """What a server that names a quantization sees of it."""

    model: str
    revision: str | None
    commit: str
    """What was measured; empty where it has no commit, or while it is not resolved yet."""
    claim: str
    engine: str
    """Family and version."""
    world_size: int
    """`tensorParallelSize` of the servers that the result is for, or will be."""
    result: Artifacts | None
    """The verified result, once it is there."""
    failure: str
    """Why it has failed and somebody must act; empty if it has not."""
    waits: str
    """What it waits for, where that is not its own work; empty if it waits for nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed(Seen):
    """All that is known of one server when it is reconciled."""

    server: VLLMServer
    quantization: QuantizationState | None = None
    """The quantization that it names, if there is one of that name."""
    answer: Answer | None = None
    """What the server has answered to the operator, if it was asked."""
    freed: bool = False
    """Whether a pod of it has gone a moment ago, and the scheduler may not have looked at its place yet."""

    @property
    def resource(self) -> VLLMServer:
        """The server."""
        return self.server

    @property
    def deployment(self) -> DeploymentFacts | None:
        """The server's Deployment."""
        return self._deployment(self.server.name)

    @property
    def microservice(self) -> DeploymentFacts | None:
        """The Deployment of the server's microservice."""
        return self._deployment(f"{self.server.name}{MICROSERVICE_SUFFIX}")

    def _deployment(self, name: str) -> DeploymentFacts | None:
        child = self.children.get(("Deployment", name))
        return child if isinstance(child, DeploymentFacts) else None

    @property
    def autoscaler(self) -> AutoscalerFacts | None:
        """The server's own HorizontalPodAutoscaler."""
        child = self.children.get((AUTOSCALER, self.server.name))
        own = child is not None and child.owner == self.server.uid
        return child if own and isinstance(child, AutoscalerFacts) else None

    @property
    def held(self) -> bool:
        """Whether pods of the server hold the claim of the cache on a node, or are about to."""
        return any(not (pod.job or pod.failure or pod.unschedulable) for pod in self.pods)

    @property
    def records(self) -> tuple[RecordFacts, ...]:
        """The server's own records, oldest first. A record that is not its own decides nothing."""
        records = [child for child in self._own() if isinstance(child, RecordFacts)]
        return tuple(sorted(records, key=lambda record: record.revision))

    @property
    def microservice_records(self) -> tuple[MicroserviceRecord, ...]:
        """The own records of the server's microservice, oldest first."""
        records = [child for child in self._own() if isinstance(child, MicroserviceRecord)]
        return tuple(sorted(records, key=lambda record: record.revision))

    def _own(self) -> Iterator[Child]:
        return (child for child in self.children.values() if child.owner == self.server.uid)


@dataclass(frozen=True, slots=True)
class Prefetch:
    """What is known of a server's prefetch."""

    job: str
    """Name of its Job."""
    cached: Cached | None
    """What the cache holds; None until it is known."""


@dataclass(frozen=True, slots=True)
class Quantizing:
    """How it stands with the FP8 that a server asks for."""

    reason: Reason
    message: str
    precision: Literal["bf16", "fp8"]
    """In which the revision that is aimed at serves."""
    used: Quantization | None = None
    """The quantization that it serves with."""
    stalled: bool = False
    """Nothing will change until somebody edits something."""
    mismatch: bool = False
    """Whether the quantization is of no use to this server, ready or not."""
    waits: bool = False
    """Whether the revision asked for cannot be made before: the one before serves on, or none."""
    held: bool = False
    """Whether a revision that serves in FP8 goes on until then."""


@dataclass(frozen=True, slots=True)
class Target:
    """What is aimed at, in short."""

    record: str
    """Digest of the inputs; the pods carry it as a label. Empty while the prefetch is waited for."""
    image: str
    refresh_available: bool
    """Whether the present operator would make another template, or take another default image."""
    prefetch: Prefetch | None
    """The prefetch, where the server needs one."""
    quantizing: Quantizing | None = None
    """How it stands with FP8, where it is asked for."""
    microservice: str = ""
    """Digest of the microservice's inputs; empty where there is to be none."""

    @property
    def job(self) -> str | None:
        """Name of the Job that is waited for before there are pods of the revision asked for."""
        return self.prefetch.job if self.prefetch and not self.record else None

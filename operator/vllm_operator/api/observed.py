"""What was seen in the cluster of one server: facts, small and frozen."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from vllm_operator.api.vllmserver import VLLMServer

Ref = tuple[str, str]
"""Kind and name of a child; its namespace is the server's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Child:
    """What every child is known by."""

    kind: str
    name: str
    uid: str
    resource_version: int
    owner: str | None
    """uid of the controlling owner."""
    server: str | None
    """Name of the server that it belongs to, by its controller or, without one, its labels."""
    deleting: bool
    digest: bytes
    """Of the fields that our field manager owns: see `desired.canonical`."""


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


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimFacts(Child):
    """A PersistentVolumeClaim."""

    phase: str
    access_modes: tuple[str, ...]
    size: str
    """Requested storage, canonical."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobFacts(Child):
    """A Job."""

    created_at: str
    """When it was made (RFC 3339)."""
    succeeded: bool
    failed: str
    """Why it has failed for good, in the Job controller's words; empty if it has not."""
    beside: bool
    """Whether it may only run beside the pods that hold the cache's claim."""


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
    renderer: str
    """What has rendered the template: see `desired.records.renderer`."""
    content: bytes
    """The template, as compressed JSON."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PodFacts:
    """A pod of the server."""

    name: str
    uid: str
    record: str | None
    job: str | None
    """Name of the Job that it belongs to."""
    job_uid: str | None
    """uid of that Job: one that is made anew has the name of the one before, and may meet its pods."""
    container: str
    """Name of its container."""
    deleting: bool
    ready: bool
    failure: str
    """Why the pod as a whole has failed, in the kubelet's words: it was evicted, or not admitted."""
    unschedulable: str
    """The scheduler's words while no node takes the pod."""
    creating_since: str
    """Since when (RFC 3339) the pod has a node and its container is being made; empty before and after."""
    waiting: str
    """Reason for which the container waits, such as `CrashLoopBackOff`."""
    waiting_message: str
    started_at: str
    """When the running container started (RFC 3339); empty while none runs."""
    exit_code: int | None
    """Exit code of the container's last end."""
    end_reason: str
    """Reason of that end, such as `OOMKilled`."""
    ended_at: str
    """When that was (RFC 3339)."""
    last_words: str


@dataclass(frozen=True, slots=True)
class Progress:
    """How far something has come."""

    phase: str
    done: int
    total: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """All that is known of one server when it is reconciled."""

    server: VLLMServer
    children: Mapping[Ref, Child]
    claim: ClaimFacts | None
    """The cache's claim, ours or the one given; None when there is none."""
    pods: tuple[PodFacts, ...]
    events: Mapping[str, str] = field(default_factory=dict)
    """What Events say of pods and Jobs that hang, by the name of these."""
    progress: Progress | None = None
    """How far the first pod that starts has come."""

    @property
    def deployment(self) -> DeploymentFacts | None:
        """The server's Deployment."""
        child = self.children.get(("Deployment", self.server.name))
        return child if isinstance(child, DeploymentFacts) else None

    @property
    def held(self) -> bool:
        """Whether pods of the server hold the claim of the cache on a node, or are about to."""
        return any(not (pod.job or pod.failure or pod.unschedulable) for pod in self.pods)

    @property
    def records(self) -> tuple[RecordFacts, ...]:
        """The server's own records, oldest first. A record that is not its own decides nothing."""
        own = (child for child in self.children.values() if child.owner == self.server.uid)
        records = [child for child in own if isinstance(child, RecordFacts)]
        return tuple(sorted(records, key=lambda record: record.revision))


@dataclass(frozen=True, slots=True)
class Prefetch:
    """What is known of a server's prefetch."""

    job: str
    """Name of its Job."""
    cached: Cached | None
    """What the cache holds; None until it is known."""


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


Manifest = dict[str, Any]

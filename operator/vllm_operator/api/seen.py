"""What was seen in the cluster around a resource of ours: facts, small and frozen."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from vllm_operator.api.reasons import Reason

Ref = tuple[str, str]
"""Kind and name of a child, or of a resource of ours; its namespace is that of the other."""

Manifest = dict[str, Any]


class Refusal(NamedTuple):
    """Why a child that no pod depends on is not there, or not as it should be."""

    reason: Reason
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Child:
    """What every child is known by."""

    kind: str
    name: str
    uid: str
    resource_version: int
    owner: str | None
    """uid of the controlling owner."""
    resource: Ref | None
    """The resource of ours that it belongs to, by its controller or, without one, its labels."""
    deleting: bool
    digest: bytes
    """Of the fields that our field manager owns: see `desired.canonical`."""


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
    retry: int
    """`spec.retry` of its quantization when it was made."""


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
    """Name of its container, or of the one before it that has not ended well yet: what follows is of that."""
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
    minutes_left: int | None = None
    """Where the log tells it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What is known of the surroundings of a resource when it is reconciled."""

    children: Mapping[Ref, Child]
    claim: ClaimFacts | None
    """The cache's claim, ours or the one given; None when there is none."""
    pods: tuple[PodFacts, ...]
    events: Mapping[str, str] = field(default_factory=dict)
    """What Events say of pods and Jobs that hang, by the name of these."""
    progress: Progress | None = None
    """How far the first pod that starts has come."""
    refused: Mapping[str, Refusal] = field(default_factory=dict)
    """Kinds of children without which a resource does as well, and why there is none, or not as wanted."""


class Question(NamedTuple):
    """What a server is asked through its Service."""

    url: str
    model: str
    record: str
    """The revision that is to answer."""


class Answer(NamedTuple):
    """What came of it."""

    reason: Reason
    detail: str
    """How it went, in words of ours."""

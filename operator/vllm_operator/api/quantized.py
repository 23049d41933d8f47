"""What was seen in the cluster of one quantization, and what is aimed at."""

from dataclasses import dataclass
from typing import NamedTuple

from vllm_operator.api.fp8quantization import FP8Quantization
from vllm_operator.api.observed import Artifacts
from vllm_operator.api.seen import Child, Seen


class Staged(NamedTuple):
    """What the prefetch has brought into the cache, all that a calibration reads."""

    commit: str
    """Of the model; empty for one that is given by its path."""
    hub: str
    """The folder that is to be HF_HUB_CACHE."""
    dataset: str | None
    """Path of the dataset; None where tasks are measured, or nothing is."""
    dataset_sha256: str | None


@dataclass(frozen=True, slots=True)
class Result:
    """What a calibration has brought."""

    artifacts: Artifacts
    world_size: int
    samples: int | None
    files: int
    bytes: int
    started_at: str
    """When its Job was made (RFC 3339)."""
    completed_at: str
    """When its container ended (RFC 3339)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantizationRecord(Child):
    """A ControllerRevision that holds what is known for good of a quantization, so far."""

    revision: int
    image: str
    engine: str
    staged: Staged | None
    result: Result | None


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """A server that names a quantization."""

    name: str
    claim: str
    """Claim of its cache."""
    held: bool
    """Whether its pods hold that claim on a node, or are about to."""
    cards: int
    """Cards that its pods have, or wait for."""
    fp8: bool
    """Whether its pods serve in FP8 already."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ObservedQuantization(Seen):
    """All that is known of one quantization when it is reconciled."""

    quantization: FP8Quantization
    users: tuple[User, ...] = ()
    """Servers that name it, by name."""

    @property
    def resource(self) -> FP8Quantization:
        """The quantization."""
        return self.quantization

    @property
    def records(self) -> tuple[QuantizationRecord, ...]:
        """The quantization's own records, oldest first."""
        own = (child for child in self.children.values() if child.owner == self.quantization.uid)
        records = [child for child in own if isinstance(child, QuantizationRecord)]
        return tuple(sorted(records, key=lambda record: record.revision))


@dataclass(frozen=True, slots=True)
class QuantizationTarget:
    """What is aimed at, in short."""

    image: str
    engine: str
    job: str | None
    """Name of the Job that is waited for; None when there is a result."""
    fingerprint: str | None
    """Digest of all that decides the result; None until model and dataset are staged."""
    staged: Staged | None
    result: Result | None
    record: str = ""
    """No pod of a quantization bears a record."""

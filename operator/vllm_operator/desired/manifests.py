"""What should be of a resource."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from vllm_operator.api.seen import Manifest, Refusal

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Desired(Generic[T]):
    """What is aimed at, and the children that should be, in the order in which they are to be applied."""

    target: T
    manifests: tuple[Manifest, ...]
    refused: Mapping[str, Refusal] = field(default_factory=dict)
    """Parts that no pod depends on and that cannot be made as asked for: see `desired.accessories.part`."""

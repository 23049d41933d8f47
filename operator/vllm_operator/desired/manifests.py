"""What should be of a resource."""

from dataclasses import dataclass
from typing import Generic, TypeVar

from vllm_operator.api.seen import Manifest

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Desired(Generic[T]):
    """What is aimed at, and the children that should be, in the order in which they are to be applied."""

    target: T
    manifests: tuple[Manifest, ...]

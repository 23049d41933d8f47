"""What should be of a resource, as far as it must be remembered, and what of that a pause holds."""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from vllm_operator.api.observed import Observed, Target
from vllm_operator.api.quantized import QuantizationTarget
from vllm_operator.api.reasons import Reason, StalledError
from vllm_operator.api.seen import Manifest, Ref, Refusal
from vllm_operator.controller.outcome import WaitingError
from vllm_operator.controller.ties import Everything
from vllm_operator.desired import accessories
from vllm_operator.desired.canonical import IMMUTABLE, digest, same_but_for_labels
from vllm_operator.desired.manifests import Desired
from vllm_operator.status.view import View


@dataclass(frozen=True, slots=True)
class Wanted:
    """What should be, as far as it must be remembered to see that it is."""

    basis: Hashable
    target: Target | QuantizationTarget
    digests: tuple[tuple[Ref, bytes], ...]
    refused: Mapping[str, Refusal] = field(default_factory=dict)
    """Parts (`desired.accessories.part`) that could not be made, and why; no other child waits for these."""
    blocked: StalledError | WaitingError | None = None
    """Why what the pods depend on, or what makes them, is not as it should be."""
    again: float | None = None
    """Seconds after which to try again parts that could not be made."""

    def fits(self, observed: Everything) -> bool:
        """Whether all children are as they should be."""
        live = {ref: child.digest for ref, child in observed.children.items()}
        return all(live.get(ref) == wanted for ref, wanted in self.digests)


def ref_of(manifest: Manifest) -> Ref:
    """Kind and name of a manifest."""
    return manifest["kind"], manifest["metadata"]["name"]


def digest_of(manifest: Manifest) -> bytes:
    """What a child's digest is once it is as its manifest."""
    return b"" if manifest["kind"] in IMMUTABLE else digest(manifest)


def paused(observed: Everything) -> bool:
    """Whether nothing but a status may be written."""
    return isinstance(observed, Observed) and observed.server.spec.paused


def held(observed: Everything, target: Desired[Any], wanted: Wanted) -> Wanted:
    """What a pause holds: a server's own children block it, each part beside it is told of by itself.

    Labels do not count. A child's are the operator's alone: no spec asks for others, and a newer operator
    with others must not make every paused server look unfinished. They are put right after the pause.
    """
    live = {ref: child.digest for ref, child in observed.children.items()}
    waiting: dict[str | None, list[str]] = {}
    for manifest in target.manifests:
        there = live.get(ref_of(manifest))
        if there is None or not same_but_for_labels(there, digest_of(manifest)):
            waiting.setdefault(accessories.part(manifest), []).append(" ".join(ref_of(manifest)))
    resume = View(observed, target.target).resume() if waiting else ""
    said = {
        part: f"spec.paused is true. To make or change: {', '.join(names)}. Resume: {resume}"
        for part, names in waiting.items()
    }
    blocked = StalledError(Reason.PAUSED, said[None]) if None in said else None
    held = {part: Refusal(Reason.PAUSED, words) for part, words in said.items() if part is not None}
    return replace(wanted, refused={**target.refused, **held}, blocked=blocked)

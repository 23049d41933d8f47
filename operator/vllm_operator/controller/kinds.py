"""What is done for each kind of resource of ours: the pure functions that a reconcile goes through."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from vllm_operator.api.fp8quantization import FP8Quantization
from vllm_operator.api.vllmserver import VLLMServer
from vllm_operator.desired import calibration, server
from vllm_operator.desired.manifests import Desired
from vllm_operator.status import quantization as quantization_status
from vllm_operator.status import server as server_status
from vllm_operator.status.warmup import half_time


@dataclass(frozen=True, slots=True)
class Kind:
    """The functions of one kind; each module of `desired` and `status` says what its own take and give."""

    desired: Callable[..., Desired[Any]]
    basis: Callable[..., Any]
    superfluous: Callable[..., Any]
    due: Callable[..., str | None]
    """When something is to be said or done that no event brings (RFC 3339)."""
    judge: Callable[..., Any]
    judge_blocked: Callable[..., Any]
    judge_invalid: Callable[..., Any]


KINDS: Mapping[str, Kind] = {
    VLLMServer.kind: Kind(
        server.desired,
        server.basis,
        lambda observed, refs, target, now: server.superfluous(observed, refs, target),  # noqa: ARG005
        half_time,
        server_status.judge,
        server_status.judge_blocked,
        server_status.judge_invalid,
    ),
    FP8Quantization.kind: Kind(
        calibration.desired,
        calibration.basis,
        calibration.superfluous,
        lambda view: calibration.expiry(view.observed, view.target),
        quantization_status.judge,
        quantization_status.judge_blocked,
        quantization_status.judge_invalid,
    ),
}

"""The kinds of resources that are ours."""

from collections.abc import Mapping

from vllm_operator.api import fp8quantization, vllmserver
from vllm_operator.api.fp8quantization import FP8Quantization
from vllm_operator.api.vllmserver import VLLMServer

Ours = VLLMServer | FP8Quantization
"""A resource of ours."""

CLASSES: Mapping[str, type[VLLMServer] | type[FP8Quantization]] = {
    VLLMServer.kind: VLLMServer,
    FP8Quantization.kind: FP8Quantization,
}
PLURALS: Mapping[str, str] = {
    VLLMServer.kind: vllmserver.PLURAL,
    FP8Quantization.kind: fp8quantization.PLURAL,
}

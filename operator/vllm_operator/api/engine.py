"""The engine in a server's image: which vLLM it is, and its knobs."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from vllm_operator.api.meta import Model, Rule, checked
from vllm_operator.api.owned import OWNED_FLAG_CEL, is_owned_flag
from vllm_operator.api.parts import NO_NUL
from vllm_operator.api.quantity import Size, exact

Argument = Annotated[
    str,
    Field(max_length=4096, pattern=NO_NUL),
    *checked(
        Rule(
            OWNED_FLAG_CEL,
            "the operator sets this flag itself: use the field for it (model, tensorParallelSize, "
            "engineArgs.kvCacheDtype, service.port, ...) or leave it out",
            lambda argument: not is_owned_flag(argument),
        )
    ),
]


class Engine(Model):
    """Which flags and variables the image's vLLM understands."""

    family: Literal["vllm"]
    """Family of the engine: `vllm` is upstream vLLM."""
    version: Annotated[str, Field(max_length=32, pattern=r"^[0-9]+\.[0-9]+(\.[0-9]+)?$")]
    """Version of vLLM in the image, such as `0.32` or `0.32.0`."""


class EngineArgs(Model):
    """vLLM's own knobs. What is unset keeps vLLM's default."""

    dtype: Literal["auto", "bfloat16", "float16", "float32"] = "bfloat16"
    """Type of weights and activations. On CPUs `float16` is unstable."""
    max_model_len: Annotated[int, Field(ge=1, le=2**31 - 1)] | None = None
    """Longest context in tokens, prompt and answer together."""
    max_num_seqs: Annotated[int, Field(ge=1, le=2**31 - 1)] | None = None
    """Most sequences in one step."""
    max_num_batched_tokens: Annotated[int, Field(ge=1, le=2**31 - 1)] | None = None
    """Most tokens in one step."""
    block_size: Annotated[int, Field(ge=1, le=4096)] | None = None
    """Tokens in one block of the KV cache."""
    gpu_memory_utilization: Annotated[float, Field(ge=0.01, le=1, allow_inf_nan=False)] | None = None
    """Share of the memory that vLLM takes; on CPUs it bounds the KV cache's automatic size."""
    enable_prefix_caching: bool | None = None
    """Re-use the KV cache of prompts that begin alike."""
    kv_cache_dtype: Annotated[str, Field(max_length=64, pattern=r"^[a-z0-9_]+$")] | None = None
    """Type of the KV cache, such as `auto` or `fp8`."""
    seed: Annotated[int, Field(ge=0, le=2**32 - 1)] | None = None
    """Seed of the random numbers."""
    enforce_eager: bool | None = None
    """Do not compile the model: a faster start, slower answers."""


class Cpu(Model):
    """Settings of a server on CPUs."""

    rules: ClassVar = (
        Rule(
            "!has(self.kvCache) || !isQuantity(string(self.kvCache)) || "
            "quantity(string(self.kvCache)).isGreaterThan(quantity('0'))",
            "kvCache must be greater than 0",
            lambda c: c.kv_cache is None or exact(c.kv_cache) > 0,
        ),
        Rule(
            "!has(self.reservedCores) || !has(self.threadsBind) || self.threadsBind == 'auto'",
            "reservedCores has an effect only with threadsBind: auto; remove one of them",
            lambda c: c.reserved_cores is None or c.threads_bind in (None, "auto"),
        ),
    )

    kv_cache: Size | None = None
    """Memory for the KV cache, such as `40Gi`. Unset: vLLM takes what the memory limit leaves."""
    threads_bind: (
        Annotated[str, Field(max_length=512, pattern=r"^(auto|nobind|[0-9]+([-,|][0-9]+)*)$")] | None
    ) = None
    """Cores that the threads are bound to: `auto`, `nobind`, or one list for each rank such as
    `0-31|32-63`. Unset: `auto` where the pod has whole CPUs of its own, else `nobind`."""
    reserved_cores: Annotated[int, Field(ge=0, le=1024)] | None = None
    """Cores that are kept free of model threads when threads are bound automatically."""

"""VLLMServer: a vLLM model server."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, ValidationError

from vllm_operator.api.meta import (
    API_VERSION,
    InvalidObjectError,
    Model,
    Rule,
    checked,
    list_map,
    path,
    problems,
)
from vllm_operator.api.owned import OWNED_FLAG_CEL, is_owned_flag
from vllm_operator.api.parts import NO_NUL, Cache, LocalReference, ModelSource, Resources, Variables
from vllm_operator.api.quantity import Quantity, exact

KIND = "VLLMServer"
PLURAL = "vllmservers"
NAME_PATTERN = r"^[a-z]([-a-z0-9]{0,38}[a-z0-9])?$"
RESERVED_SUFFIXES = ("-llm", "-prefetch")
"""Endings that children's names take; a resource whose name has one could meet another's child."""

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
            "!has(self.kvCache) || quantity(string(self.kvCache)).isGreaterThan(quantity('0'))",
            "kvCache must be greater than 0",
            lambda c: c.kv_cache is None or exact(c.kv_cache) > 0,
        ),
        Rule(
            "!has(self.reservedCores) || !has(self.threadsBind) || self.threadsBind == 'auto'",
            "reservedCores has an effect only with threadsBind: auto; remove one of them",
            lambda c: c.reserved_cores is None or c.threads_bind in (None, "auto"),
        ),
    )

    kv_cache: Quantity | None = None
    """Memory for the KV cache, such as `40Gi`. Unset: vLLM takes what the memory limit leaves."""
    threads_bind: (
        Annotated[str, Field(max_length=512, pattern=r"^(auto|nobind|[0-9]+([-,|][0-9]+)*)$")] | None
    ) = None
    """Cores that the threads are bound to: `auto`, `nobind`, or one list for each rank such as
    `0-31|32-63`. Unset: `auto` where the pod has whole CPUs of its own, else `nobind`."""
    reserved_cores: Annotated[int, Field(ge=0, le=1024)] | None = None
    """Cores that are kept free of model threads when threads are bound automatically."""


class Service(Model):
    """How the server is reached."""

    port: Annotated[int, Field(ge=1, le=65535)] = 8008
    """Port of the Service. The container itself listens on 8000."""


class Warmup(Model):
    """The time between the start of a container and its first answer."""

    timeout_seconds: Annotated[int, Field(ge=60, le=604800)] = 7200
    """Seconds that a container has for download, load and warm-up before it is started again."""


def _has_engine(spec: "VLLMServerSpec") -> bool:
    return spec.image is None or spec.engine is not None


class VLLMServerSpec(Model):
    """What is wanted."""

    rules: ClassVar = (
        Rule(
            "!has(self.image) || has(self.engine)",
            "engine is required with an image of your own: say which vLLM it holds, "
            "such as {family: vllm, version: '0.32'}",
            _has_engine,
        ),
    )

    model: ModelSource
    """The model that is served."""
    device: Literal["cpu"]
    """Where the model runs."""
    engine: Engine | None = None
    """Which vLLM the image holds. Unset: that of the operator's default image."""
    image: (
        Annotated[str, Field(min_length=1, max_length=512, pattern=r"^[a-zA-Z0-9][-._:/@a-zA-Z0-9]*$")] | None
    ) = None
    """Container image. Unset: the operator's default, which then stays the same for this server."""
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] | None = None
    """When the image is pulled. Unset: the cluster's default."""
    image_pull_secrets: Annotated[list[LocalReference], Field(max_length=8), *list_map("name")] | None = None
    """Secrets with credentials of the image's registry."""
    tensor_parallel_size: Annotated[int, Field(ge=1, le=64)] = 1
    """Ranks that share each layer. On CPUs a rank is a NUMA node."""
    engine_args: EngineArgs = EngineArgs()
    """vLLM's knobs."""
    extra_args: Annotated[list[Argument], Field(max_length=64)] | None = None
    """Further arguments of `vllm serve`, after all others, one word an item. No shell reads them."""
    extra_env: Variables | None = None
    """Further environment variables."""
    cpu: Cpu = Cpu()
    """Settings of a server on CPUs."""
    cache: Cache
    """Where the weights are kept. It is mounted at `/data`."""
    replicas: Annotated[int, Field(ge=0, le=1000)] = 1
    """Pods that serve. 0 suspends the server and keeps its cache."""
    service: Service = Service()
    """How the server is reached."""
    warmup: Warmup = Warmup()
    """The time that a start may take."""
    resources: Resources = Resources()
    """Compute resources of the vLLM container."""
    shm_size: Quantity | None = None
    """Size of `/dev/shm`, through which vLLM's processes talk; it counts as memory. Unset: `4Gi`."""


NAME_RULES = (
    Rule(
        f"self.metadata.name.matches('{NAME_PATTERN}')",
        "metadata.name must be at most 40 of a-z, 0-9 and -, begin with a letter and not end with -",
        lambda name: re.fullmatch(NAME_PATTERN, name, re.ASCII) is not None,
    ),
    Rule(
        " && ".join(f"!self.metadata.name.endsWith('{suffix}')" for suffix in RESERVED_SUFFIXES),
        f"metadata.name may not end with {' or '.join(RESERVED_SUFFIXES)}: such names are taken by children",
        lambda name: not name.endswith(RESERVED_SUFFIXES),
    ),
)
"""Rules on the name of a resource; at the root of a CRD only the name can be seen of the metadata."""


@dataclass(frozen=True, slots=True)
class VLLMServer:
    """A VLLMServer as the operator sees it."""

    name: str
    namespace: str
    uid: str
    generation: int
    spec: VLLMServerSpec

    @classmethod
    def parse(cls, body: Mapping[str, Any], *, strict: bool = False) -> "VLLMServer":
        """Read an object.

        With `strict`, unknown fields are errors too. Raises InvalidObjectError with every problem that
        was found, each with the path of its field.
        """
        metadata = body.get("metadata") or {}
        if not isinstance(metadata, Mapping):
            raise InvalidObjectError(("metadata: must be an object with a name",))
        name = str(metadata.get("name") or "")
        found = [
            f"metadata.name: {rule.message}" for rule in NAME_RULES if rule.holds and not rule.holds(name)
        ]
        if strict:
            found += _strangers(body)
        spec = None
        try:
            spec = VLLMServerSpec.model_validate(body.get("spec") or {}, extra="forbid" if strict else None)
        except ValidationError as error:
            found += problems(error, "spec")
        if found or spec is None:
            raise InvalidObjectError(tuple(found))
        return cls(
            name=name,
            namespace=metadata.get("namespace") or "default",
            uid=metadata.get("uid") or "",
            generation=metadata.get("generation") or 0,
            spec=spec,
        )


_FIELDS = frozenset({"apiVersion", "kind", "metadata", "spec", "status"})
_METADATA = frozenset(
    {
        *("name", "generateName", "namespace", "labels", "annotations", "finalizers", "ownerReferences"),
        *("uid", "resourceVersion", "generation", "managedFields", "selfLink"),
        *("creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds"),
    }
)
"""Fields of ObjectMeta (k8s.io/apimachinery v0.36.3, pkg/apis/meta/v1/types.go)."""


def _strangers(body: Mapping[str, Any]) -> list[str]:
    found = []
    if body.get("apiVersion") != API_VERSION:
        found.append(f"apiVersion: must be {API_VERSION}")
    if body.get("kind") != KIND:
        found.append(f"kind: must be {KIND}")
    for above, part, known in (((), body, _FIELDS), (("metadata",), body.get("metadata") or {}, _METADATA)):
        found += [
            f"{path(*above, str(key))}: is not a field of this resource; check the spelling"
            for key in part
            if key not in known
        ]
    return found

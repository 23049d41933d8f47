"""Settings of a server on Gaudi cards, and of the warm-up that they need."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from vllm_operator.api.meta import Model, Rule
from vllm_operator.api.parts import ObjectName
from vllm_operator.api.quantity import Size, exact

CARD = "habana.ai/gaudi"
"""The resource that Intel's device plugin offers."""


class Gaudi(Model):
    """Settings of a server on Gaudi cards."""

    generation: Literal["g2", "g3"] | None = None
    """Generation of the cards: Gaudi 2 or Gaudi 3. Which nodes have them the operator's settings say."""
    hugepages2_mi: Annotated[Size | None, Field(alias="hugepages2Mi")] = None
    """Huge pages of 2 MiB that the container gets, such as `9800Mi`. No node without them takes the pod."""
    runtime_class_name: ObjectName | None = None
    """RuntimeClass of the pods, such as `habana`, where Intel's runtime is not the node's default."""
    sys_nice: bool = False
    """Give the container the capability SYS_NICE, with which memory is kept near its card. A namespace that
    enforces Pod Security `baseline` or `restricted` refuses such pods."""
    lazy_collectives: bool | None = None
    """Run collective operations lazily (PT_HPU_ENABLE_LAZY_COLLECTIVES). Unset: vLLM's choice."""


class BucketRange(Model):
    """Sizes for which graphs are compiled: from min to max in steps."""

    min: Annotated[int, Field(ge=0, le=2**31 - 1)] | None = None
    """Smallest size."""
    step: Annotated[int, Field(ge=1, le=2**31 - 1)] | None = None
    """Distance of sizes."""
    max: Annotated[int, Field(ge=1, le=2**31 - 1)] | None = None
    """Largest size."""


class Buckets(Model):
    """Sizes for which graphs are compiled at the start."""

    prompt_batch_size: BucketRange | None = None
    """Sequences in one prompt step (VLLM_PROMPT_BS_BUCKET_*)."""
    prompt_query: BucketRange | None = None
    """Tokens of a prompt that are new (VLLM_PROMPT_QUERY_BUCKET_*)."""
    prompt_context: BucketRange | None = None
    """Blocks of a prompt that are cached (VLLM_PROMPT_CTX_BUCKET_*)."""
    decode_batch_size: BucketRange | None = None
    """Sequences in one decode step (VLLM_DECODE_BS_BUCKET_*)."""
    decode_blocks: BucketRange | None = None
    """Blocks of the KV cache in one decode step (VLLM_DECODE_BLOCK_BUCKET_*)."""


class RecipeCache(Model):
    """Compiled graphs that are kept in the cache, so that the next start need not compile them again."""

    rules: ClassVar = (
        Rule(
            "!has(self.size) || !isQuantity(string(self.size)) || "
            "quantity(string(self.size)).compareTo(quantity('1Mi')) >= 0",
            "size must be at least 1Mi",
            lambda r: r.size is None or exact(r.size) >= 2**20,
        ),
    )

    enabled: bool = False
    """Keep compiled graphs below `/data/.cache/recipes`. Not with a cache that several nodes write to."""
    size: Size | None = None
    """The most that is kept, such as `8Gi`. Unset: `8Gi`."""


class Warmup(Model):
    """The time between the start of a container and its first answer."""

    rules: ClassVar = (
        Rule(
            "!has(self.buckets) || (has(self.strategy) && self.strategy in ['lin', 'pad'])",
            "buckets have an effect only with strategy lin or pad: set strategy, or remove buckets",
            lambda w: w.buckets is None or w.strategy in ("lin", "pad"),
        ),
    )

    timeout_seconds: Annotated[int, Field(ge=60, le=604800)] = 7200
    """Seconds that a container has for download, load and warm-up before it is started again."""
    skip: bool = False
    """Start without a warm-up on Gaudi: graphs are compiled when the first requests need them, which then
    take minutes. For trials only."""
    strategy: Literal["exp", "lin", "pad"] | None = None
    """How bucket sizes grow on Gaudi: `exp`, `lin` or `pad`. Unset: vLLM's choice."""
    buckets: Buckets | None = None
    """Sizes for which graphs are compiled on Gaudi, with strategy `lin` or `pad`."""
    recipe_cache: RecipeCache | None = None
    """Keep compiled graphs on Gaudi."""

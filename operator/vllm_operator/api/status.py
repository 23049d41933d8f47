"""The status of the resources: conditions, and what users read in columns."""

from typing import Annotated, Literal

from pydantic import Field

from vllm_operator.api.meta import Model, list_map


class Condition(Model):
    """One aspect of the state, in the form of Kubernetes' own conditions."""

    type: Annotated[str, Field(max_length=316)]
    """Aspect that the condition speaks of, such as `Ready`."""
    status: Literal["True", "False", "Unknown"]
    """Whether it is so."""
    observed_generation: int
    """Generation of the spec that this was found for."""
    last_transition_time: Annotated[str, Field(json_schema_extra={"format": "date-time"})]
    """When `status` changed last."""
    reason: Annotated[str, Field(min_length=1, max_length=1024)]
    """One word for why."""
    message: Annotated[str, Field(max_length=32768)]
    """What is going on, and what to do."""


class WarmupStatus(Model):
    """How far a download or a start has come, as its own lines tell; absent when there is none."""

    phase: str
    """What is being done, such as `download`, `Loading`, `Prompt` or `Decode`."""
    done: int
    """Steps that are done; of a download, bytes."""
    total: int
    """Steps or bytes in all; 0 where that is not known."""


class VLLMServerStatus(Model):
    """What is true. Only the operator writes it."""

    observed_generation: int = -1
    """Generation of the spec that this status speaks of; -1: none yet."""
    conditions: Annotated[list[Condition], Field(max_length=16), *list_map("type")] | None = None
    """`Ready` always; `Reconciling` and `Stalled` only while they are True; `Available`."""
    replicas: int | None = None
    """Pods that exist."""
    ready_replicas: int | None = None
    """Pods that answer."""
    selector: str | None = None
    """Label selector of the pods, for `kubectl scale` and autoscalers."""
    url: str | None = None
    """Where the OpenAI-compatible API is reached inside the cluster; append `/v1`."""
    precision: Literal["bf16"] | None = None
    """Precision of the weights as they are served, where it is a known one."""
    image: str | None = None
    """Image of the revision asked for."""
    model_revision: str | None = None
    """Commit of the model that the cache holds, where a prefetch has filled it."""
    warmup: WarmupStatus | None = None
    """How far the download, or the first pod that starts, has come; written every 20 seconds at most."""
    refresh_available: bool | None = None
    """Whether the present operator would make other pods than those that its record keeps: change
    `spec.rollout.refresh` to take them."""

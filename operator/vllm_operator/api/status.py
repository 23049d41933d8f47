"""The status of the resources: conditions, and what users read in columns."""

from typing import Annotated, Literal

from pydantic import Field

from vllm_operator.api.meta import Model, list_map, list_set


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


class QuantizationInUse(Model):
    """The result of a calibration that a server uses."""

    name: str
    """FP8Quantization that it is of."""
    fingerprint: str
    """Digest of all that decides the result."""


class VLLMServerStatus(Model):
    """What is true. Only the operator writes it."""

    observed_generation: int = -1
    """Generation of the spec that this status speaks of; -1: none yet."""
    conditions: Annotated[list[Condition], Field(max_length=16), *list_map("type")] | None = None
    """`Ready` always; `Reconciling` and `Stalled` only while they are True; `Available`; `ModelCached` where
    a prefetch fills the cache, `Quantized` where FP8 is asked for, `Autoscaled`, `Monitored` and
    `MicroserviceReady` where these are, and `Verified` once the operator has asked the revision that
    serves."""
    replicas: int | None = None
    """Pods that exist."""
    ready_replicas: int | None = None
    """Pods that answer."""
    selector: str | None = None
    """Label selector of the pods, for `kubectl scale` and autoscalers."""
    url: str | None = None
    """Where the OpenAI-compatible API is reached inside the cluster; append `/v1`."""
    precision: Literal["bf16", "fp8"] | None = None
    """Precision of the weights as the revision asked for serves them, where it is a known one."""
    quantization: QuantizationInUse | None = None
    """Result of a calibration that the revision asked for serves with."""
    image: str | None = None
    """Image of the revision asked for."""
    model_revision: str | None = None
    """Commit of the model that the cache holds, where a prefetch has filled it."""
    warmup: WarmupStatus | None = None
    """How far the download, or the first pod that starts, has come; written every 20 seconds at most."""
    refresh_available: bool | None = None
    """Whether the present operator would make other pods than those that its record keeps: change
    `spec.rollout.refresh` to take them."""


class ArtifactsStatus(Model):
    """The files of a result."""

    files: int
    """How many there are."""
    bytes: int
    """Their size."""
    sha256: str
    """SHA-256 of their manifest, which holds that of each."""


class CalibrationProgress(Model):
    """How far a quantization has come, as its Jobs' own lines tell; absent when none runs."""

    step: int
    """Number of the calibration's step; 0 while model and dataset are fetched."""
    steps: int
    """Steps of the calibration."""
    done: int
    """Samples that are measured; of a download, bytes."""
    total: int
    """Samples or bytes in all; 0 where that is not known."""
    message: str
    """The same in words, with the minutes that are left where they are known."""


class FP8QuantizationStatus(Model):
    """What is true. Only the operator writes it."""

    observed_generation: int = -1
    """Generation of the spec that this status speaks of; -1: none yet."""
    conditions: Annotated[list[Condition], Field(max_length=16), *list_map("type")] | None = None
    """`Ready` always; `Reconciling` and `Stalled` only while they are True; `Calibrated` and
    `ArtifactsVerified`."""
    fingerprint: str | None = None
    """Digest of all that decides the result: model, commit, dataset, settings, image."""
    job_name: str | None = None
    """Job that runs, or has run last: the one that fetches model and dataset, or the calibration."""
    image: str | None = None
    """Image that measures."""
    model_revision: str | None = None
    """Commit of the model that is measured."""
    generation: Literal["g2", "g3"] | None = None
    """Generation of the cards that it was measured on; the result is of no use on the other."""
    world_size: int | None = None
    """`tensorParallelSize` of the servers that the result is for."""
    samples: int | None = None
    """Samples that were measured."""
    quant_config_path: str | None = None
    """File that servers name in QUANT_CONFIG."""
    output_path: str | None = None
    """Folder of the result in the cache."""
    artifacts: ArtifactsStatus | None = None
    """The files of the result."""
    progress: CalibrationProgress | None = None
    """How far it has come; written every 20 seconds at most."""
    used_by: Annotated[list[str], Field(max_length=64), *list_set()] | None = None
    """VLLMServers that name this quantization, 64 at most."""
    start_time: Annotated[str, Field(json_schema_extra={"format": "date-time"})] | None = None
    """When the calibration began."""
    completion_time: Annotated[str, Field(json_schema_extra={"format": "date-time"})] | None = None
    """When it ended well."""

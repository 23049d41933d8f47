"""FP8Quantization: a calibration of a model to FP8, whose result servers name."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, field_validator

from vllm_operator.api import combinations
from vllm_operator.api.dataset import NO_DOTS, Dataset, of_form
from vllm_operator.api.engine import Engine
from vllm_operator.api.gaudi import Gaudi
from vllm_operator.api.meta import Model, Rule, checked, list_map, list_set
from vllm_operator.api.parts import (
    ImageName,
    LocalReference,
    ModelReference,
    ObjectName,
    Resources,
    Variables,
)
from vllm_operator.api.pod import PodFields
from vllm_operator.api.quantity import Size
from vllm_operator.api.resource import Resource

KIND = "FP8Quantization"
PLURAL = "fp8quantizations"


class QuantizationCache(Model):
    """The claim with the weights, into which the result is written: that of the servers that shall use it."""

    claim_name: ObjectName
    """A PersistentVolumeClaim; a server's own is called like the server, with `-cache` after it."""
    fs_group: Annotated[int, Field(ge=1, le=2**31 - 1)] | None = None
    """Group that is made the owner of the volume's files. Unset: they keep their owners; uid 1000 must be
    able to write. Give 1000 with a claim that a server makes: its volume is root's until a pod with a group
    mounts it, and the calibration's may be the first."""


class Existing(Model):
    """Artefacts that were made earlier, by hand."""

    rules: ClassVar = (NO_DOTS,)

    path: Annotated[
        str,
        Field(max_length=1024),
        *checked(
            of_form(
                r"^/data(/[^/\x00-\x1f\x7f]+)+$",
                "must be the path of a folder below /data/, where the cache is mounted, such as "
                "/data/inc/llama-3.1-8b-instruct",
            )
        ),
    ]
    """Folder that holds `maxabs_quant_g2.json` or `maxabs_quant_g3.json`, below `/data/`, where the cache is
    mounted, such as `/data/inc/llama-3.1-8b-instruct`."""


_CHANGEABLE = ("isolated", "retry", "ttlSecondsAfterFinished")
_AND = f"{', '.join(_CHANGEABLE[:-1])} and {_CHANGEABLE[-1]}"
_FIXED = (
    *("model", "cache", "dataset", "tasks", "existing", "tensorParallelSize", "batchSize", "sampleLimit"),
    *(
        "unifyTo",
        "expertParallel",
        "backend",
        "engine",
        "image",
        "imagePullPolicy",
        "imagePullSecrets",
        "gaudi",
    ),
    *("extraEnv", "resources", "shmSize", "backoffLimit", "activeDeadlineSeconds", "nodeSelector"),
    *("tolerations", "affinity", "priorityClassName", "serviceAccountName", "podLabels", "podAnnotations"),
    "proxy",
)
"""All other fields; a test compares them with the model."""


_IN_ANY_ORDER = ("tasks", "image_pull_secrets", "extra_env")
"""Sets and maps: to the API server another order of them is no change, so it may make no other recipe."""


def _immutable(field: str) -> Rule:
    return Rule(
        f"has(self.{field}) ? has(oldSelf.{field}) && self.{field} == oldSelf.{field} "
        f": !has(oldSelf.{field})",
        f"{field} cannot change: an FP8Quantization stands for one result. Make another one, and name it in "
        f"spec.fp8.quantizationRef of the servers; only {_AND} may change",
    )


def _set(spec: Any, *fields: str) -> bool:
    return any(getattr(spec, field) not in (None, False) for field in fields)


class FP8QuantizationSpec(PodFields):
    """What is wanted. It cannot change, but for `isolated`, `retry` and `ttlSecondsAfterFinished`."""

    rules: ClassVar = (
        combinations.has_engine("{family: vllm-gaudi, version: '0.26'}"),
        combinations.ONE_PROXY,
        Rule(
            "!has(self.engine) || self.engine.family == 'vllm-gaudi'",
            "engine.family must be vllm-gaudi: models are calibrated on Gaudi only",
            lambda s: s.engine is None or s.engine.family == "vllm-gaudi",
        ),
        Rule(
            "[has(self.dataset), has(self.tasks), has(self.existing)].filter(given, given).size() == 1",
            "give exactly one of dataset (with backend Script), tasks (with backend Command) or existing",
            lambda s: sum(each is not None for each in (s.dataset, s.tasks, s.existing)) == 1,
        ),
        Rule(
            "(has(self.tasks) ? self.backend == 'Command' : true) && "
            "(has(self.dataset) ? self.backend == 'Script' : true)",
            "backend Script measures a dataset, backend Command tasks of lm-eval: change backend, or give "
            "the other of dataset and tasks",
            lambda s: (
                (s.tasks is None or s.backend == "Command") and (s.dataset is None or s.backend == "Script")
            ),
        ),
        Rule(
            "has(self.existing) || (has(self.model.trustRemoteCode) && self.model.trustRemoteCode)",
            "model.trustRemoteCode: true is required: Intel's calibration scripts always run the code that a "
            "model's repository brings along",
            lambda s: s.existing is not None or s.model.trust_remote_code,
        ),
        Rule(
            "self.tensorParallelSize in [1, 2, 4, 8]",
            "tensorParallelSize must be 1, 2, 4 or 8: so many cards of a node work together",
            lambda s: s.tensor_parallel_size in (1, 2, 4, 8),
        ),
        Rule(
            "!has(self.unifyTo) || (self.unifyTo < self.tensorParallelSize && "
            "self.tensorParallelSize % self.unifyTo == 0)",
            "unifyTo must be a divisor of tensorParallelSize, and smaller: measurements can be put together, "
            "but not be split",
            lambda s: (
                s.unify_to is None
                or (s.unify_to < s.tensor_parallel_size and s.tensor_parallel_size % s.unify_to == 0)
            ),
        ),
        Rule(
            "!self.expertParallel || self.tensorParallelSize == 1 || has(self.unifyTo)",
            "expertParallel with tensorParallelSize above 1 needs unifyTo: each card measures its own "
            "experts only, and accuracy would be lost",
            lambda s: not s.expert_parallel or s.tensor_parallel_size == 1 or s.unify_to is not None,
        ),
        Rule(
            "!has(self.existing) || !(has(self.unifyTo) || has(self.sampleLimit) || self.expertParallel)",
            "unifyTo, sampleLimit and expertParallel have no effect with existing: nothing is measured; "
            "remove them",
            lambda s: s.existing is None or not _set(s, "unify_to", "sample_limit", "expert_parallel"),
        ),
        *map(_immutable, _FIXED),
    )

    model: ModelReference
    """The model that is calibrated. `trustRemoteCode: true` is required, since Intel's calibration scripts
    always run the code that a model's repository brings along."""
    cache: QuantizationCache
    """The claim that holds the weights, and gets the result."""
    dataset: Dataset | None = None
    """Samples that are measured by backend `Script`."""
    tasks: (
        Annotated[
            list[Annotated[str, Field(max_length=128, pattern=r"^[a-zA-Z0-9_][-._a-zA-Z0-9]*$")]],
            Field(min_length=1, max_length=16),
            *list_set(),
        ]
        | None
    ) = None
    """Tasks of lm-eval that are measured by backend `Command`, such as `gsm8k`."""
    existing: Existing | None = None
    """Artefacts that were made earlier: they are checked, and nothing is measured."""
    tensor_parallel_size: Annotated[int, Field(ge=1, le=8)] = 1
    """Cards that the model is measured on: as many as the servers have that shall use it, or more with
    unifyTo."""
    batch_size: Annotated[int, Field(ge=1, le=4096)] = 32
    """Samples that are measured at once."""
    sample_limit: Annotated[int, Field(ge=1, le=2**31 - 1)] | None = None
    """Samples that are measured, chosen by a fixed seed. Unset: all of a `.pkl`, and the first 512 rows of
    what is converted to one."""
    unify_to: Annotated[int, Field(ge=1, le=4)] | None = None
    """Put the measurements together for servers of a smaller tensorParallelSize."""
    expert_parallel: bool = False
    """Measure the experts of a mixture of experts on cards of their own."""
    backend: Literal["Script", "Command"] = "Script"
    """How Intel's tools are run: `Script` by calibrate_model.sh with a dataset, `Command` by
    vllm-gaudi-calibrate, which newer images have, with tasks."""
    engine: Engine | None = None
    """Which vLLM the image holds. Unset: that of the operator's default image."""
    image: ImageName | None = None
    """Container image, the same as that of the servers. Unset: the operator's default for Gaudi, which then
    stays the same for this resource."""
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] | None = None
    """When the image is pulled. Unset: the cluster's default."""
    image_pull_secrets: Annotated[list[LocalReference], Field(max_length=8), *list_map("name")] | None = None
    """Secrets with credentials of the image's registry."""
    gaudi: Gaudi = Gaudi()
    """Settings of the cards."""
    extra_env: Variables | None = None
    """Further environment variables of the calibration and of the download before it."""
    resources: Resources = Resources()
    """Compute resources of the calibration. The weights pass through the host's memory."""
    shm_size: Size | None = None
    """Size of `/dev/shm`, through which vLLM's processes talk; it counts as memory. Unset: `16Gi`."""
    backoff_limit: Annotated[int, Field(ge=0, le=100)] = 1
    """How often a calibration that fails is tried again by itself."""
    active_deadline_seconds: Annotated[int, Field(ge=60, le=2**31 - 1)] | None = None
    """Seconds after which the calibration is ended as failed, its wait for cards included. Unset: never."""
    ttl_seconds_after_finished: Annotated[int, Field(ge=0, le=2**31 - 1)] | None = None
    """Seconds after which the Job of a calibration that succeeded is deleted, with its log. Unset: it is
    kept. The artefacts stay in any case."""
    isolated: bool = False
    """Let nobody reach the pods of its Jobs, and the one that calibrates reach nobody, by NetworkPolicies,
    where the cluster's network plugin enforces them."""
    retry: Annotated[int, Field(ge=0, le=2**31 - 1)] = 0
    """Raise it to try a calibration again that has failed."""

    @field_validator(*_IN_ANY_ORDER)
    @classmethod
    def _in_one_order(cls, items: list[Any] | None) -> list[Any] | None:
        return items and sorted(items, key=repr)


class FP8Quantization(Resource[FP8QuantizationSpec]):
    """An FP8Quantization as the operator sees it."""

    __slots__ = ()

    kind = KIND
    spec_model = FP8QuantizationSpec

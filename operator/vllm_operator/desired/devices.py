"""What a device asks of a pod: resources, variables, shared memory, nodes."""

import hashlib
import json
from collections.abc import Mapping

from vllm_operator.api.fp8quantization import FP8QuantizationSpec
from vllm_operator.api.gaudi import CARD, BucketRange, Gaudi
from vllm_operator.api.observed import Observed, Quantization
from vllm_operator.api.owned import BUCKETS
from vllm_operator.api.parts import Resources
from vllm_operator.api.quantity import exact, in_bytes
from vllm_operator.api.reasons import Reason, StalledError
from vllm_operator.api.vllmserver import VLLMServerSpec
from vllm_operator.desired import names
from vllm_operator.desired.defaults import Defaults, Image

SHM_SIZE = {"cpu": "4Gi", "gaudi": "16Gi"}
RECIPES = f"{names.DATA}/.cache/recipes"
RECIPES_SIZE = "8Gi"


def resources(spec: VLLMServerSpec | FP8QuantizationSpec, *, cards: int) -> dict[str, dict[str, str]]:
    """Resources of the container that works with the model: those of the spec, and on Gaudi the cards."""
    # An empty map is not stored, and would differ for ever.
    amounts = {side: {**given} for side, given in spec.resources.model_dump().items() if given}
    if not cards:
        return amounts
    extended = {CARD: str(cards)}
    if spec.gaudi.hugepages2_mi is not None:
        extended["hugepages-2Mi"] = spec.gaudi.hugepages2_mi
    # Of both, a pod must request what is its limit.
    return {side: {**amounts.get(side, {}), **extended} for side in ("limits", "requests")}


def cards(spec: VLLMServerSpec) -> int:
    """Cards that each pod of a server has."""
    return spec.tensor_parallel_size * spec.pipeline_parallel_size if spec.device == "gaudi" else 0


def node_selector(
    spec: VLLMServerSpec | FP8QuantizationSpec, defaults: Defaults, measured_on: str | None = None
) -> dict[str, str]:
    """Labels of the nodes that a server's pods may run on: the user's, and those of its cards.

    `measured_on` is the generation that a calibration is good for. Raises StalledError(InvalidForEngine)
    where the operator does not know nodes of the generation asked for.
    """
    selector = dict(spec.node_selector or {})
    generation = spec.gaudi.generation
    if generation is None:
        return selector | dict(defaults.generations.get(measured_on or "", {}))
    if not defaults.generations.get(generation):
        raise StalledError(
            Reason.INVALID_FOR_ENGINE,
            f"spec.gaudi.generation: the operator is not told which nodes have cards of {generation}: set "
            f"VLLM_OPERATOR_GAUDI_{generation.upper()}_NODES of the operator, or use spec.nodeSelector",
        )
    return selector | dict(defaults.generations[generation])


def environment(spec: VLLMServerSpec, image: Image, quantization: Quantization | None) -> dict[str, str]:
    """Variables that a device needs."""
    return _threads(spec) if spec.device == "cpu" else _gaudi(spec, image, quantization)


def of_cards(gaudi: Gaudi) -> dict[str, str]:
    """Variables of every container that has cards."""
    variables = {
        "HABANA_LOGS": f"{names.HOME}/habana_logs",
        "OMPI_MCA_btl_vader_single_copy_mechanism": "none",
        "PYTHONUNBUFFERED": "1",
    }
    if gaudi.lazy_collectives is not None:
        variables["PT_HPU_ENABLE_LAZY_COLLECTIVES"] = str(gaudi.lazy_collectives).lower()
    return variables


def _gaudi(spec: VLLMServerSpec, image: Image, quantization: Quantization | None) -> dict[str, str]:
    variables = of_cards(spec.gaudi)
    # Progress of the warm-up comes line by line only so; else it is one bar that is redrawn
    # (vllm-gaudi 0.26, hpu_model_runner.py, warmup_graphs).
    variables["VLLM_DEVELOPER_MODE"] = "1"
    warmup = spec.warmup
    if warmup.skip:
        variables["VLLM_SKIP_WARMUP"] = "true"
    if warmup.strategy is not None:
        variables["VLLM_BUCKETING_STRATEGY"] = warmup.strategy
    if warmup.recipe_cache is not None and warmup.recipe_cache.enabled:
        size = in_bytes(warmup.recipe_cache.size or RECIPES_SIZE) // 2**20
        variables["PT_HPU_RECIPE_CACHE_CONFIG"] = (
            f"{RECIPES}/{_recipes(spec, image, quantization)},false,{size}"
        )
    return variables | _buckets(spec)


def _recipes(spec: VLLMServerSpec, image: Image, quantization: Quantization | None) -> str:
    """Name of the folder for graphs that are alike: what decides a graph decides the name."""
    whole = ("engine_args", "tensor_parallel_size", "pipeline_parallel_size", "extra_args", "extra_env")
    parts = {
        "model": {"name", "revision", "trust_remote_code"},
        "gaudi": {"generation", "lazy_collectives"},
        "warmup": {"strategy", "buckets"},
    }
    chosen = spec.model_dump(include={**dict.fromkeys(whole, True), **parts}, exclude_defaults=True)
    # A part of which nothing decides is as good as none.
    deciding = {name: value for name, value in chosen.items() if value != {}} | {"image": image.image}
    if quantization is not None:
        # Scales stand in graphs as constants.
        deciding["fp8"] = quantization.artifacts.sha256
    elif spec.fp8 is not None and spec.fp8.mode is not None:
        deciding["fp8"] = spec.fp8.mode
    return hashlib.sha256(json.dumps(deciding, sort_keys=True).encode()).hexdigest()[:10]


def _buckets(spec: VLLMServerSpec) -> dict[str, str]:
    if spec.warmup.buckets is None:
        return {}
    ranges: Mapping[str, BucketRange | None] = dict(spec.warmup.buckets)
    return {
        f"VLLM_{kind}_BUCKET_{bound.upper()}": str(size)
        for kind, sizes in zip(BUCKETS, ranges.values(), strict=True)
        for bound, size in (sizes.model_dump(exclude_none=True) if sizes else {}).items()
    }


def check_recipes(observed: Observed) -> None:
    """Raise StalledError(InvalidForEngine) where several nodes could write to kept graphs at once."""
    cache = observed.server.spec.warmup.recipe_cache
    claim = observed.claim
    if cache is not None and cache.enabled and claim is not None and "ReadWriteMany" in claim.access_modes:
        raise StalledError(
            Reason.INVALID_FOR_ENGINE,
            f"spec.warmup.recipeCache: claim {claim.name} is ReadWriteMany, and nothing keeps nodes from "
            "spoiling each other's files: remove recipeCache, or give a ReadWriteOnce claim",
        )


def _threads(spec: VLLMServerSpec) -> dict[str, str]:
    bind = spec.cpu.threads_bind or ("auto" if whole_cpus(spec.resources) else "nobind")
    variables = {"VLLM_CPU_OMP_THREADS_BIND": bind}
    cpus = (spec.resources.limits or {}).get("cpu")
    if bind == "nobind" and cpus is not None:
        variables["OMP_NUM_THREADS"] = str(max(1, int(exact(cpus))))
    if spec.cpu.reserved_cores is not None:
        variables["VLLM_CPU_NUM_OF_RESERVED_CPU"] = str(spec.cpu.reserved_cores)
    return variables


def whole_cpus(resources: Resources) -> bool:
    """Whether the pod is Guaranteed with whole CPUs, so that the kubelet can give it cores of its own.

    Without them `auto` binds to cores that other pods use too.
    """
    limits, requests = resources.limits or {}, resources.requests or {}
    if not {"cpu", "memory"} <= limits.keys() or exact(limits["cpu"]).denominator != 1:
        return False
    return all(exact(requests.get(name, limits[name])) == exact(limits[name]) for name in ("cpu", "memory"))

"""Rows of the leaf table for servers on Gaudi cards: cards, variables, nodes, the warm-up."""

from collections.abc import Iterator
from dataclasses import replace

from tests.campaign.base import GIVEN, RUNTIMES
from tests.campaign.table import GONE, OTHER, Row, plain, row
from tests.cases.table import REMOVED

CARD = "habana.ai/gaudi"
LIMITS, REQUESTS = "container.resources.limits", "container.resources.requests"
BUCKETS = {
    "promptBatchSize": "PROMPT_BS",
    "promptQuery": "PROMPT_QUERY",
    "promptContext": "PROMPT_CTX",
    "decodeBatchSize": "DECODE_BS",
    "decodeBlocks": "DECODE_BLOCK",
}
BOUNDS = ("min", "step", "max")
RECIPES = "env.PT_HPU_RECIPE_CACHE_CONFIG"
COMPILED = {"recipes": OTHER}
"""Graphs are others, and so are kept in another folder."""
NOT_COMPILED = {"recipes": GONE, RECIPES: GONE}


def cards(count: str) -> dict[str, str]:
    """What a pod with so many cards asks for, and may have."""
    return {f"{LIMITS}.{CARD}": count, f"{REQUESTS}.{CARD}": count}


def device() -> Iterator[Row]:
    """From one device to the other, and what a server on CPUs is refused."""
    cpu = ("VLLM_CPU_OMP_THREADS_BIND", "VLLM_CPU_NUM_OF_RESERVED_CPU")
    variables = {
        "HABANA_LOGS": "/home/vllm/habana_logs",
        "OMPI_MCA_btl_vader_single_copy_mechanism": "none",
        "VLLM_DEVELOPER_MODE": "1",
        "PYTHONUNBUFFERED": "1",
    }
    change = {"device": "gaudi", "engine": {"family": "vllm-gaudi", "version": "0.26"}, "cpu": REMOVED}
    # Cards compute in one precision.
    change["engineArgs.dtype"] = "bfloat16"
    precision = {"args.--dtype": "bfloat16", "status.precision": "bf16"}
    seen = cards("2") | precision | {f"env.{name}.value": value for name, value in variables.items()}
    gone = {"args.--kv-cache-memory-bytes": GONE} | {f"env.{name}": GONE for name in cpu}
    yield row(change, seen | gone)
    sixteen = {**change, "shmSize": REMOVED}
    size = {"pod.volumes.shm.emptyDir.sizeLimit": "16Gi"}
    yield row(sixteen, seen | gone | size, leaf="spec.shmSize")
    words = "have an effect only with device: gaudi"
    yield row({"gaudi": {}}, refused=words)
    yield row({"warmup.strategy": "lin"}, refused=words)


def engine() -> Iterator[Row]:
    """The engine and its ranks, which are cards."""
    yield row({"device": "cpu"}, refused="engine.family is vllm-gaudi on Gaudi")
    yield row({"cpu": {"threadsBind": "auto"}}, refused="cpu has an effect only with device: cpu")
    yield row({"engine.family": "vllm"}, refused="engine.family is vllm-gaudi on Gaudi")
    half = ("InvalidForEngine", "spec.engineArgs.dtype: vllm-gaudi 0.26 on gaudi")
    yield row({"engineArgs.dtype": "float16"}, stalled=half)
    unknown = ("InvalidForEngine", "no profile for vllm-gaudi 0.32")
    yield row({"engine.version": "0.32"}, stalled=unknown)
    default = (
        "vault.habana.ai/gaudi-docker/1.24.1/ubuntu24.04/habanalabs/vllm-0.26.0-ptupstream-2.11.0:latest"
    )
    unset = {"container.image": default, "status.image": default}
    yield row({"image": REMOVED, "engine": REMOVED}, unset | COMPILED)
    tensor, pipeline = "args.--tensor-parallel-size", "args.--pipeline-parallel-size"
    yield row({"tensorParallelSize": 4}, {tensor: "4"} | cards("8") | COMPILED)
    yield row({"tensorParallelSize": REMOVED}, {tensor: "1"} | cards("2") | COMPILED)
    yield row({"tensorParallelSize": 8}, refused="must be 1, 2, 4 or 8 on Gaudi")
    yield row({"pipelineParallelSize": 4}, {pipeline: "4"} | cards("8") | COMPILED)
    yield row({"pipelineParallelSize": REMOVED}, {pipeline: GONE} | cards("2") | COMPILED)
    yield row({"shmSize": REMOVED}, {"pod.volumes.shm.emptyDir.sizeLimit": "16Gi"})
    yield row({"model.servedNames": REMOVED}, {"args.--served-model-name": "org/model"})
    # No limit but that of the cards, which a pod must request as well.
    given = {f"{side}.{name}": GONE for side in (LIMITS, REQUESTS) for name in ("cpu", "memory")}
    yield row({"resources": REMOVED}, given, leaf="spec.resources.limits.*")


def gaudi() -> Iterator[Row]:
    """`gaudi`."""
    selector = "pod.nodeSelector.kubernetes.io"
    g2 = {f"{selector}/os": GONE, f"{selector}/hostname": "gaudi-0"}
    yield row({"gaudi.generation": "g2"}, g2 | COMPILED)
    yield row({"gaudi.generation": REMOVED}, {f"{selector}/os": GONE} | COMPILED)
    pages = {f"{side}.hugepages-2Mi": "64Mi" for side in (LIMITS, REQUESTS)}
    yield row({"gaudi.hugepages2Mi": "65536Ki"}, pages)
    yield from plain("gaudi.runtimeClassName", RUNTIMES[1], "pod.runtimeClassName", RUNTIMES[1])
    # The Deployment says so, though a restricted namespace takes no such pod.
    added = {"container.securityContext.capabilities.add.0": "SYS_NICE"}
    yield row({"gaudi.sysNice": True}, added)
    yield row({"gaudi.sysNice": REMOVED})
    lazy = "env.PT_HPU_ENABLE_LAZY_COLLECTIVES"
    yield row({"gaudi.lazyCollectives": False}, {f"{lazy}.value": "false"} | COMPILED)
    yield row({"gaudi.lazyCollectives": REMOVED}, {lazy: GONE} | COMPILED)
    none = {f"{selector}/os": GONE, "pod.runtimeClassName": GONE, lazy: GONE}
    yield row({"gaudi": REMOVED}, none | COMPILED)


def warmup() -> Iterator[Row]:
    """`warmup`."""
    budget = {"env.VLLM_ENGINE_READY_TIMEOUT_S.value": "3605", "container.startupProbe.failureThreshold": 361}
    yield row({"warmup.timeoutSeconds": 3605}, budget)
    for value in (False, REMOVED):
        yield row({"warmup.skip": value}, {"env.VLLM_SKIP_WARMUP": GONE})
    strategy = "env.VLLM_BUCKETING_STRATEGY"
    every = {f"env.VLLM_{kind}_BUCKET_{bound.upper()}": GONE for kind in BUCKETS.values() for bound in BOUNDS}
    yield row({"warmup.strategy": "pad"}, {f"{strategy}.value": "pad"} | COMPILED)
    none = {"warmup.buckets": REMOVED}
    exponential = {f"{strategy}.value": "exp"} | every | COMPILED
    yield row({"warmup.strategy": "exp", **none}, exponential)
    yield row({"warmup.strategy": REMOVED, **none}, {strategy: GONE} | every | COMPILED)
    yield row({"warmup.strategy": REMOVED}, refused="buckets have an effect only with strategy lin or pad")
    yield row(none, every | COMPILED, leaf="spec.warmup.buckets")
    for field, kind in BUCKETS.items():
        for size, bound in enumerate(BOUNDS, 3):
            path, variable = f"warmup.buckets.{field}.{bound}", f"env.VLLM_{kind}_BUCKET_{bound.upper()}"
            yield row({path: size}, {f"{variable}.value": str(size)} | COMPILED)
            yield row({path: REMOVED}, {variable: GONE} | COMPILED)
    yield from recipes()


def recipes() -> Iterator[Row]:
    """`warmup.recipeCache`."""
    here, folder = "warmup.recipeCache", "/data/.cache/recipes/FOLDER"
    for value in (False, REMOVED):
        yield row({f"{here}.enabled": value}, NOT_COMPILED)
    yield row({here: REMOVED}, NOT_COMPILED)
    # More room empties no folder.
    yield from plain(
        f"{here}.size", "5Gi", f"{RECIPES}.value", f"{folder},false,5120", f"{folder},false,8192"
    )
    words = "warmup.recipeCache needs a cache that one node writes to"
    leaf = f"spec.{here}.enabled"
    yield row({"cache.accessModes": ["ReadWriteMany"]}, refused=words, leaf=leaf)
    shared = ("InvalidForEngine", f"spec.warmup.recipeCache: claim {GIVEN} is ReadWriteMany")
    yield row({"cache": {"claimName": GIVEN}}, stalled=shared, leaf=leaf, own=True)


def rows() -> list[Row]:
    """Every row of servers on Gaudi, and of the way there."""
    of_gaudi = [each for part in (engine, gaudi, warmup) for each in part()]
    return [*device(), *(replace(each, base="gaudi") for each in of_gaudi)]

"""Rules over several fields of a VLLMServer's spec."""

from typing import Any

from vllm_operator.api.meta import Rule


def has_engine(example: str) -> Rule:
    """That an image goes with a word on what it holds."""
    return Rule(
        "!has(self.image) || has(self.engine)",
        f"engine is required with an image of your own: say which vLLM it holds, such as {example}",
        lambda s: s.image is None or s.engine is not None,
    )


_DEADLINE = Rule(
    "!has(self.rollout) || !has(self.rollout.progressDeadlineSeconds) || "
    "self.rollout.progressDeadlineSeconds >= "
    "(has(self.warmup) && has(self.warmup.timeoutSeconds) ? self.warmup.timeoutSeconds : 7200)",
    "rollout.progressDeadlineSeconds must be at least warmup.timeoutSeconds (7200 unless set): a pod may "
    "take that long to start",
    lambda s: (s.rollout.progress_deadline_seconds or 2**31) >= s.warmup.timeout_seconds,
)

_PROXY_VARIABLES = ("http_proxy", "https_proxy", "no_proxy")

ONE_PROXY = Rule(
    "!has(self.proxy) || !has(self.extraEnv) || "
    f"!self.extraEnv.exists(e, e.name.lowerAscii() in {list(_PROXY_VARIABLES)})",
    "give proxies in proxy or as variables in extraEnv, not both",
    lambda s: s.proxy is None or not any(e.name.lower() in _PROXY_VARIABLES for e in s.extra_env or ()),
)

_TOGETHER = Rule(
    "self.replicas <= 1 || !has(self.cache.size) || !has(self.topologySpreadConstraints) || "
    "(has(self.cache.accessModes) && 'ReadWriteMany' in self.cache.accessModes) || "
    "!self.topologySpreadConstraints.exists(c, c.topologyKey == 'kubernetes.io/hostname' && "
    "c.whenUnsatisfiable == 'DoNotSchedule' && c.maxSkew < self.replicas)",
    "replicas on different nodes cannot share a ReadWriteOnce cache: remove the topologySpreadConstraint on "
    "kubernetes.io/hostname, or give cache.accessModes [ReadWriteMany]",
    lambda s: (
        s.replicas <= 1
        or s.cache.size is None
        or "ReadWriteMany" in (s.cache.access_modes or ())
        or not any(
            (c.topology_key, c.when_unsatisfiable) == ("kubernetes.io/hostname", "DoNotSchedule")
            and c.max_skew < s.replicas
            for c in s.topology_spread_constraints or ()
        )
    ),
)

_FAMILY = Rule(
    "!has(self.engine) || (self.device == 'gaudi') == (self.engine.family == 'vllm-gaudi')",
    "engine.family is vllm-gaudi on Gaudi, and vllm on CPUs",
    lambda s: s.engine is None or (s.device == "gaudi") == (s.engine.family == "vllm-gaudi"),
)

_CARDS = Rule(
    "self.device != 'gaudi' || self.tensorParallelSize * self.pipelineParallelSize in [1, 2, 4, 8]",
    "tensorParallelSize times pipelineParallelSize must be 1, 2, 4 or 8 on Gaudi: so many cards of a node "
    "work together",
    lambda s: s.device != "gaudi" or s.tensor_parallel_size * s.pipeline_parallel_size in (1, 2, 4, 8),
)


def _given(model: Any, *fields: str) -> bool:
    return bool(model.model_fields_set & set(fields))


_OF_CPUS = Rule(
    "self.device == 'cpu' || !has(self.cpu)",
    "cpu has an effect only with device: cpu; remove it",
    lambda s: s.device == "cpu" or not _given(s, "cpu"),
)

_OF_GAUDI = Rule(
    "self.device == 'gaudi' || !(has(self.gaudi) || (has(self.warmup) && "
    "(has(self.warmup.strategy) || has(self.warmup.buckets) || has(self.warmup.recipeCache) || "
    "(has(self.warmup.skip) && self.warmup.skip))))",
    "gaudi, warmup.skip, warmup.strategy, warmup.buckets and warmup.recipeCache have an effect only with "
    "device: gaudi; remove them",
    lambda s: (
        s.device == "gaudi"
        or not (
            _given(s, "gaudi") or _given(s.warmup, "strategy", "buckets", "recipe_cache") or s.warmup.skip
        )
    ),
)

_RECIPES = Rule(
    "!has(self.warmup) || !has(self.warmup.recipeCache) || !has(self.warmup.recipeCache.enabled) || "
    "!self.warmup.recipeCache.enabled || !has(self.cache.accessModes) || "
    "!('ReadWriteMany' in self.cache.accessModes)",
    "warmup.recipeCache needs a cache that one node writes to: nothing keeps several from spoiling each "
    "other's files; remove ReadWriteMany from cache.accessModes, or recipeCache",
    lambda s: (
        not (
            s.warmup.recipe_cache
            and s.warmup.recipe_cache.enabled
            and "ReadWriteMany" in (s.cache.access_modes or ())
        )
    ),
)

_FP8 = Rule(
    "!has(self.fp8) || (self.device == 'gaudi' && self.pipelineParallelSize == 1)",
    "fp8 needs device: gaudi and pipelineParallelSize 1: Intel's quantization knows nothing else; remove "
    "fp8, or change them",
    lambda s: s.fp8 is None or (s.device == "gaudi" and s.pipeline_parallel_size == 1),
)

_FP8_CACHE = Rule(
    "!has(self.fp8) || !has(self.engineArgs) || !has(self.engineArgs.kvCacheDtype)",
    "engineArgs.kvCacheDtype follows from fp8: remove it",
    lambda s: s.fp8 is None or s.engine_args.kv_cache_dtype is None,
)

RULES = (
    has_engine("{family: vllm, version: '0.32'}"),
    _DEADLINE,
    ONE_PROXY,
    _TOGETHER,
    _FAMILY,
    _CARDS,
    _OF_CPUS,
    _OF_GAUDI,
    _RECIPES,
    _FP8,
    _FP8_CACHE,
)

"""Every enum, bound, pattern, list limit and rule of our kinds, each with what fits and what does not.

One table, two judges: tests/unit asks the models, tests/cluster a real API server.
"""

from collections.abc import Iterator

from tests.cases import gaudi as cards
from tests.cases import quantization
from tests.cases.builders import (
    beside,
    bounds,
    choices,
    optional,
    quantities,
    required,
    things,
    truths,
    words,
)
from tests.cases.container import cpu, extra_args, extra_env, resources
from tests.cases.datasets import datasets
from tests.cases.fixed import updates
from tests.cases.fp8 import fp8
from tests.cases.gaudi import devices, gaudi, warmup
from tests.cases.microservice import microservice
from tests.cases.model import (
    chat_template,
    device,
    engine,
    engine_args,
    hub,
    model,
    names,
    offline,
    served_names,
)
from tests.cases.placement import (
    access,
    annotations,
    apart,
    labels,
    placement,
    proxy,
    service_annotations,
    spreads,
)
from tests.cases.rules import (
    CONTROLS,
    DEADLINE,
    EMOJI,
    GOES_WITH_SIZE,
    MAX_INT,
    NO_NEW_CLASS,
    NO_SHRINKING,
    ONE_CACHE,
    SIZE,
    object_names,
)
from tests.cases.scaling import autoscaling, monitoring
from tests.cases.table import (
    REMOVED,
    WITH_EXISTING,
    Case,
    Change,
    accept,
    of_quantizations,
    refuse,
    table,
)


def cache() -> Iterator[Case]:
    here = "spec.cache"
    given = {here: {"claimName": "weights"}}
    yield accept("claim", given, rule=ONE_CACHE)
    yield accept("claim and a null size", {here: {"claimName": "weights", "size": None}}, rule=ONE_CACHE)
    yield refuse("two caches", {f"{here}.claimName": "weights"}, here, rule=ONE_CACHE)
    yield refuse("no cache", {here: {}}, here, rule=ONE_CACHE)
    yield accept("claim without the rest", given, rule=GOES_WITH_SIZE)
    for field, value in (
        ("storageClassName", "a"),
        ("accessModes", ["ReadWriteMany"]),
        ("retention", "Delete"),
    ):
        change = {here: {"claimName": "weights", field: value}}
        yield refuse(f"claim and {field}", change, here, rule=GOES_WITH_SIZE)
    made = ("size", "storageClassName", "accessModes", "retention")
    yield from beside({f"{here}.{f}": REMOVED for f in made}, object_names(f"{here}.claimName"))
    yield from bounds(f"{here}.fsGroup", 1, MAX_INT)
    yield accept("claim and fsGroup", {here: {"claimName": "weights", "fsGroup": 100}})
    yield from optional(f"{here}.fsGroup")
    yield from quantities(f"{here}.size", zero=False)
    for nothing in ("0", 0, "0Gi", "0m"):
        yield refuse(f"size {nothing!r}", {f"{here}.size": nothing}, here, rule=SIZE)
    yield accept("size 1", {f"{here}.size": 1}, rule=SIZE)
    yield from object_names(f"{here}.storageClassName")
    modes = f"{here}.accessModes"
    yield from choices(f"{modes}.0", "ReadWriteOnce", "ReadWriteMany")
    yield refuse(
        "ReadWriteOncePod", {modes: ["ReadWriteOncePod"]}, f"{modes}.0", covers=[(f"{modes}[]", "enum")]
    )
    yield accept("two modes", {modes: ["ReadWriteOnce", "ReadWriteMany"]})
    yield refuse("no mode", {modes: []}, modes, covers=[(modes, "minItems")])
    yield refuse(
        "modes repeat", {modes: ["ReadWriteOnce"] * 2}, modes, covers=[(modes, "x-kubernetes-list-type")]
    )
    three = {modes: ["ReadWriteOnce", "ReadWriteMany", "ReadWriteOnce"]}
    yield refuse("three modes", three, modes, covers=[(modes, "maxItems")])
    yield refuse("modes a word", {modes: "ReadWriteOnce"}, modes, covers=[(modes, "type")])
    yield from choices(f"{here}.retention", "Retain", "Delete")


def small() -> Iterator[Case]:
    yield from bounds("spec.replicas", 0, 1000)
    yield from bounds("spec.service.port", 1, 65535)
    yield from choices("spec.service.type", "ClusterIP", "NodePort", "LoadBalancer")
    yield refuse("service ExternalName", {"spec.service.type": "ExternalName"}, "spec.service.type")
    yield from optional("spec.service.type")
    for field in ("spec.paused", "spec.prefetch", "spec.verify"):
        yield from truths(field)
        yield from optional(field)
    yield from bounds("spec.warmup.timeoutSeconds", 60, 604800)
    yield from quantities("spec.shmSize", zero=True)


def rollout() -> Iterator[Case]:
    here, budget = "spec.rollout", "spec.warmup.timeoutSeconds"
    yield from things(here)
    yield from optional(
        here, *(f"{here}.{f}" for f in ("drainSeconds", "progressDeadlineSeconds", "refresh"))
    )
    yield from bounds(f"{here}.drainSeconds", 0, 86400)
    good = (CONTROLS, EMOJI, "{{ a }}", "2026-01-01T00:00:00Z")
    yield from words(f"{here}.refresh", longest=63, good=good, empty=True, fill="\U0001f600")
    deadline = f"{here}.progressDeadlineSeconds"
    yield from beside({budget: 60}, bounds(deadline, 60, MAX_INT))
    whole = "spec.warmup"
    unset: tuple[Change, ...] = (
        {budget: REMOVED},
        {budget: None},
        {whole: {}},
        {whole: REMOVED},
        {whole: None},
    )
    for number, budgets in enumerate(({budget: 7200}, *unset)):
        name = f"deadline beside budget {number}"
        yield accept(f"{name} as long", {deadline: 7200, **budgets}, rule=DEADLINE)
        yield refuse(f"{name} shorter", {deadline: 7199, **budgets}, "spec", rule=DEADLINE)
    yield accept("longest budget", {budget: 604800, deadline: 604800}, rule=DEADLINE)
    yield refuse("longer budget", {budget: 604800, deadline: 604799}, "spec", rule=DEADLINE)
    yield accept("no deadline", {budget: 604800, deadline: REMOVED}, rule=DEADLINE)
    yield accept("no rollout", {budget: 604800, here: REMOVED}, rule=DEADLINE)


def shape() -> Iterator[Case]:
    yield Case("as it is", {}, accepted=True)
    yield from required("spec.model", "spec.model.name", "spec.device", "spec.cache")
    yield from required("spec.engine.family", "spec.engine.version", "spec.model.tokenSecretRef.name")
    yield from required("spec.imagePullSecrets.0.name")
    yield from optional("spec.model.tokenSecretRef.key", "spec.model.revision", "spec.model.servedNames")
    yield from optional(
        "spec.model.tokenSecretRef", "spec.model.trustRemoteCode", "spec.image", "spec.imagePullPolicy"
    )
    yield from optional(
        "spec.imagePullSecrets", "spec.tensorParallelSize", "spec.pipelineParallelSize", "spec.engineArgs"
    )
    yield from optional(
        "spec.extraArgs",
        "spec.extraEnv",
        "spec.cpu",
        "spec.replicas",
        "spec.service",
        "spec.warmup",
        "spec.resources",
    )
    yield from optional(
        "spec.shmSize", "spec.resources.limits", "spec.resources.requests", "spec.service.port"
    )
    yield from optional(*(f"spec.engineArgs.{field}" for field in ENGINE_ARGS), "spec.warmup.timeoutSeconds")
    yield from optional("spec.cpu.kvCache", "spec.cpu.threadsBind", "spec.cpu.reservedCores")
    yield from optional(
        *(f"spec.cache.{field}" for field in ("storageClassName", "accessModes", "retention"))
    )
    yield from optional("spec.extraEnv.0.value")
    objects = (
        "",
        ".model",
        ".model.tokenSecretRef",
        ".engine",
        ".engineArgs",
        ".cpu",
        ".cache",
        ".service",
        ".warmup",
    )
    more = (
        ".extraEnv.1.valueFrom",
        ".extraEnv.1.valueFrom.secretKeyRef",
        ".extraEnv.2.valueFrom.configMapKeyRef",
    )
    for tail in (
        *objects,
        ".resources",
        *more,
        ".extraEnv.3.valueFrom.fieldRef",
        ".extraEnv.0",
        ".imagePullSecrets.0",
    ):
        path = f"spec{tail}"
        for thing in ("x", [1]):
            yield refuse(f"{path}: {thing!r} for an object", {path: thing}, path)


ENGINE_ARGS = (
    "dtype", "maxModelLen", "maxNumSeqs", "maxNumBatchedTokens", "blockSize", "gpuMemoryUtilization",
    "enablePrefixCaching", "kvCacheDtype", "seed", "enforceEager",
)  # fmt: skip


def transitions() -> Iterator[Case]:
    """What an update may not do; alone, each of these objects is good."""
    cache = "spec.cache"

    def update(name: str, old: object, new: object, rule: str, *, good: bool = False) -> Case:
        path = "" if good else cache
        return Case(name, {cache: new}, good, path, "" if good else rule, rule, old={cache: old})

    plain, classed = {"size": "10Gi"}, {"size": "10Gi", "storageClassName": "a"}
    shared = {"size": "10Gi", "accessModes": ["ReadWriteMany"]}
    yield update("size shrinks", plain, {"size": "9Gi"}, NO_SHRINKING)
    yield update("size shrinks in other words", plain, {"size": "10G"}, NO_SHRINKING)
    yield update("size shrinks to a number", plain, {"size": 10}, NO_SHRINKING)
    yield update("size grows", plain, {"size": "11Gi"}, NO_SHRINKING, good=True)
    yield update("size in other words", plain, {"size": "10240Mi"}, NO_SHRINKING, good=True)
    yield update("size to a claim", plain, {"claimName": "a"}, NO_SHRINKING, good=True)
    yield update("claim to a size", {"claimName": "a"}, plain, NO_SHRINKING, good=True)
    yield update("class set", plain, classed, NO_NEW_CLASS)
    yield update("class removed", classed, plain, NO_NEW_CLASS)
    yield update("class changed", classed, classed | {"storageClassName": "b"}, NO_NEW_CLASS)
    yield update("modes set", plain, shared, NO_NEW_CLASS)
    yield update("modes removed", shared, plain, NO_NEW_CLASS)
    yield update("modes changed", shared, shared | {"accessModes": ["ReadWriteOnce"]}, NO_NEW_CLASS)
    yield update("retention changes", classed, classed | {"retention": "Delete"}, NO_NEW_CLASS, good=True)
    yield update("class left with size", classed, {"claimName": "a"}, NO_NEW_CLASS, good=True)


REFUSALS = table(
    names(), model(), served_names(), device(), engine(), engine_args(), extra_args(), extra_env(), cpu(),
    cache(), resources(), small(), rollout(), hub(), offline(), chat_template(), labels(), annotations(),
    service_annotations(), placement(), spreads(), apart(), proxy(), shape(), transitions(), devices(),
    gaudi(), warmup(), fp8(), microservice(), access(), autoscaling(), monitoring(),
    of_quantizations(
        # With artefacts, no code of the model's is run, and so none need be trusted.
        names(), beside(WITH_EXISTING, model()), engine(), extra_env(), resources(), hub(), labels(),
        annotations(), placement(), proxy(), cards.section(), datasets(), quantization.inputs(),
        quantization.ranks(), quantization.family(), quantization.numbers(), quantization.parts(),
        quantization.cache(), updates(),
    ),
)  # fmt: skip
"""Every case by its name."""

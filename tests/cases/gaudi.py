"""Cases of what only servers on Gaudi have, and of what they are refused."""

from collections.abc import Iterator
from typing import Any

from tests.cases.builders import beside, bounds, choices, optional, quantities, things, truths
from tests.cases.rules import (
    BUCKETS,
    CARDS,
    ENGINE,
    FAMILY,
    MAX_INT,
    OF_CPUS,
    OF_GAUDI,
    RECIPES,
    RECIPES_SIZE,
    object_names,
)
from tests.cases.table import ON_GAUDI, REMOVED, Case, Change, accept, refuse

TENSOR, PIPELINE = "spec.tensorParallelSize", "spec.pipelineParallelSize"
KINDS = ("promptBatchSize", "promptQuery", "promptContext", "decodeBatchSize", "decodeBlocks")


def devices() -> Iterator[Case]:
    """What fits to one device and not to the other."""
    for word in ("Gaudi", "hpu", "cuda"):
        yield refuse(f"device {word}", {"spec.device": word}, "spec.device")
    yield from _of_cpus()
    yield from _families()
    yield from beside(ON_GAUDI, _cards())
    for number, change in enumerate(({TENSOR: 3}, {TENSOR: 16}, {TENSOR: 3, PIPELINE: 5})):
        yield accept(f"ranks {number} on CPUs", change, rule=CARDS)


def _of_cpus() -> Iterator[Case]:
    for number, cpu in enumerate(({}, {"kvCache": "4Gi"}, {"threadsBind": "auto"}, {"reservedCores": 0})):
        yield refuse(f"cpu {number} on Gaudi", {**ON_GAUDI, "spec.cpu": cpu}, "spec", rule=OF_CPUS)
    yield accept("a null cpu on Gaudi", {**ON_GAUDI, "spec.cpu": None}, rule=OF_CPUS)
    yield accept("an empty cpu on CPUs", {"spec.cpu": {}}, rule=OF_CPUS)
    here = "spec.warmup"
    of_gaudi: dict[str, Change] = {
        "gaudi": {"spec.gaudi": {"sysNice": True}},
        "an empty gaudi": {"spec.gaudi": {}},
        "skip": {f"{here}.skip": True},
        "strategy": {f"{here}.strategy": "lin"},
        "buckets": {f"{here}.strategy": "lin", f"{here}.buckets": {"promptQuery": {"min": 1}}},
        "recipeCache": {f"{here}.recipeCache": {"enabled": True}},
        "an empty recipeCache": {f"{here}.recipeCache": {}},
        "recipeCache that is off": {f"{here}.recipeCache": {"enabled": False}},
    }
    for name, change in of_gaudi.items():
        yield refuse(f"{name} on CPUs", change, "spec", rule=OF_GAUDI)
    yield accept("skip: false on CPUs", {f"{here}.skip": False}, rule=OF_GAUDI)
    for field in ("spec.gaudi", *(f"{here}.{f}" for f in ("skip", "strategy", "buckets", "recipeCache"))):
        yield accept(f"a null {field} on CPUs", {field: None}, rule=OF_GAUDI)


def _families() -> Iterator[Case]:
    family, none = "spec.engine.family", {"spec.image": REMOVED, "spec.engine": REMOVED}
    yield accept("vllm-gaudi on Gaudi", ON_GAUDI, rule=FAMILY)
    yield accept("vllm on CPUs", {}, rule=FAMILY)
    yield refuse("vllm-gaudi on CPUs", {family: "vllm-gaudi"}, "spec", rule=FAMILY)
    engine = {"family": "vllm", "version": "0.26"}
    yield refuse("vllm on Gaudi", {**ON_GAUDI, "spec.engine": engine}, "spec", rule=FAMILY)
    yield accept("no engine on Gaudi", {**ON_GAUDI, **none}, rule=FAMILY)
    yield accept("no engine on CPUs", none, rule=FAMILY)
    yield refuse("image without engine on Gaudi", {**ON_GAUDI, "spec.engine": REMOVED}, "spec", rule=ENGINE)


def _cards() -> Iterator[Case]:
    for tensor, pipeline in ((1, 1), (2, 1), (4, 1), (8, 1), (1, 2), (2, 2), (4, 2), (2, 4), (1, 8)):
        change = {TENSOR: tensor, PIPELINE: pipeline}
        yield accept(f"{tensor} times {pipeline} cards", change, rule=CARDS)
    for tensor, pipeline in (
        *((3, 1), (5, 1), (6, 1), (7, 1), (9, 1), (10, 1), (12, 1), (16, 1), (64, 1)),
        *((3, 2), (4, 4), (8, 2), (1, 3), (1, 16), (64, 64)),
    ):
        change = {TENSOR: tensor, PIPELINE: pipeline}
        yield refuse(f"{tensor} times {pipeline} cards", change, "spec", rule=CARDS)
    yield accept("cards by default", {TENSOR: REMOVED, PIPELINE: None}, rule=CARDS)
    yield refuse("three cards by default", {TENSOR: REMOVED, PIPELINE: 3}, "spec", rule=CARDS)


def gaudi() -> Iterator[Case]:
    """The section `gaudi`."""
    others = {path: value for path, value in ON_GAUDI.items() if path != "spec.gaudi"}
    yield accept("no gaudi on Gaudi", others)
    yield from beside(ON_GAUDI, section())


def section() -> Iterator[Case]:
    """Of whatever has cards."""
    here = "spec.gaudi"
    yield accept("as it is on Gaudi", {})
    yield accept("an empty gaudi", {here: {}})
    yield from things(here)
    fields = ("generation", "hugepages2Mi", "runtimeClassName", "sysNice", "lazyCollectives")
    yield from optional(*(f"{here}.{field}" for field in fields))
    yield accept("a null gaudi on Gaudi", {here: None})
    yield from choices(f"{here}.generation", "g2", "g3")
    yield from quantities(f"{here}.hugepages2Mi", zero=True)
    yield from object_names(f"{here}.runtimeClassName")
    yield from truths(f"{here}.sysNice")
    yield from truths(f"{here}.lazyCollectives")


def warmup() -> Iterator[Case]:
    """What `warmup` has for Gaudi."""
    return beside(ON_GAUDI, (*_strategies(), *_ranges(), *_recipes()))


def _strategies() -> Iterator[Case]:
    here = "spec.warmup"
    strategy, buckets = f"{here}.strategy", f"{here}.buckets"
    yield from truths(f"{here}.skip")
    yield from optional(f"{here}.skip", buckets)
    yield from beside({buckets: REMOVED}, choices(strategy, "exp", "lin", "pad"))
    yield from beside({buckets: REMOVED}, optional(strategy))
    yield from things(buckets)
    for good in ("lin", "pad"):
        yield accept(f"buckets of strategy {good}", {strategy: good}, rule=BUCKETS)
    for number, bad in enumerate(("exp", REMOVED, None)):
        yield refuse(f"buckets of strategy {number}", {strategy: bad}, here, rule=BUCKETS)
    empty: Change = {strategy: "exp", buckets: {}}
    yield refuse("empty buckets of strategy exp", empty, here, rule=BUCKETS)
    yield accept("null buckets of strategy exp", {strategy: "exp", buckets: None}, rule=BUCKETS)
    yield accept("empty buckets of strategy pad", {strategy: "pad", buckets: {}})


def _ranges() -> Iterator[Case]:
    for kind in KINDS:
        where = f"spec.warmup.buckets.{kind}"
        yield from things(where)
        yield from optional(where)
        for bound, least in (("min", 0), ("step", 1), ("max", 1)):
            yield from optional(f"{where}.{bound}")
            # Alone, for a smallest size may be larger than the largest of the others.
            yield from beside({where: {}}, bounds(f"{where}.{bound}", least, MAX_INT))


def _recipes() -> Iterator[Case]:
    here, modes = "spec.warmup.recipeCache", "spec.cache.accessModes"
    yield from things(here)
    yield from optional(here, f"{here}.enabled", f"{here}.size")
    yield from truths(f"{here}.enabled")
    size = f"{here}.size"
    # What is good elsewhere may be too small here.
    yield from (case for case in quantities(size, zero=False) if not case.accepted)
    for good in ("1Mi", "1024Ki", 1048576, "1048576", "1049k", "8Gi", "1Ei"):
        yield accept(f"recipes of {good!r}", {size: good}, rule=RECIPES_SIZE)
    for small in ("1048575", 1048575, "1M", "1023Ki", "0.99Mi", "1n", 0, "0"):
        yield refuse(f"recipes of {small!r}", {size: small}, here, rule=RECIPES_SIZE)
    shared: dict[str, list[str]] = {"one": ["ReadWriteMany"], "both": ["ReadWriteOnce", "ReadWriteMany"]}
    for name, many in shared.items():
        yield refuse(f"recipes beside {name}", {modes: many}, "spec", rule=RECIPES)
        off: dict[str, Any] = {"absent": REMOVED, "null": None, "empty": {}, "off": {"enabled": False}}
        for how, cache in off.items():
            yield accept(f"recipes {how} beside {name}", {modes: many, here: cache}, rule=RECIPES)
    for name, alone in {"unset": REMOVED, "once": ["ReadWriteOnce"]}.items():
        yield accept(f"recipes beside modes {name}", {modes: alone}, rule=RECIPES)
    yield accept("recipes in a given claim", {"spec.cache": {"claimName": "weights"}}, rule=RECIPES)

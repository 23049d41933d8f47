"""Cases of `fp8` of a server."""

from collections.abc import Iterator

from tests.cases.builders import beside, choices, optional, required, things
from tests.cases.rules import FP8, FP8_CACHE, ONE_FP8, WAIT, object_names
from tests.cases.table import DYNAMIC, IN_FP8, ON_GAUDI, REMOVED, Case, Change, accept, refuse

HERE, KV_CACHE = "spec.fp8", "spec.engineArgs.kvCacheDtype"


def fp8() -> Iterator[Case]:
    """By a quantization, or without one."""
    yield from beside(IN_FP8, _by_a_quantization())
    yield from beside(DYNAMIC, choices(f"{HERE}.mode", "Dynamic"))
    by_name: Change = {HERE: {"quantizationRef": {"name": "a"}}}
    yield accept("fp8 by a quantization", {**IN_FP8, **by_name}, rule=ONE_FP8)
    yield accept("fp8 without one", DYNAMIC, rule=ONE_FP8)
    yield accept("fp8 and a null mode", {**IN_FP8, f"{HERE}.mode": None}, rule=ONE_FP8)
    for number, neither in enumerate(({}, {"whilePending": "Wait"}, {"mode": None})):
        yield refuse(f"fp8 of nothing {number}", {**IN_FP8, HERE: neither}, HERE, rule=ONE_FP8)
    yield refuse("fp8 of both", {**IN_FP8, f"{HERE}.mode": "Dynamic"}, HERE, rule=ONE_FP8)
    waits = f"{HERE}.whilePending"
    yield refuse("nothing to wait for", {**DYNAMIC, waits: "Wait"}, HERE, rule=WAIT)
    yield accept("a wait for a quantization", IN_FP8, rule=WAIT)
    yield accept("no wait for nothing", {**DYNAMIC, waits: "ServeBF16"}, rule=WAIT)
    for name, full in (("a quantization", IN_FP8), ("dynamic", DYNAMIC)):
        yield from _beside_others(name, full)
    yield accept("no fp8 in a pipeline", {**ON_GAUDI, "spec.pipelineParallelSize": 2}, rule=FP8)
    yield accept("no fp8 and kvCacheDtype", {**ON_GAUDI, KV_CACHE: "fp8_inc"}, rule=FP8_CACHE)


def _by_a_quantization() -> Iterator[Case]:
    yield accept("a null fp8", {HERE: None})
    yield from optional(f"{HERE}.whilePending")
    yield from things(HERE)
    reference = f"{HERE}.quantizationRef"
    yield from things(reference)
    yield from required(f"{reference}.name")
    yield from object_names(f"{reference}.name")
    yield from choices(f"{HERE}.whilePending", "ServeBF16", "Wait")


def _beside_others(name: str, full: Change) -> Iterator[Case]:
    asked = {HERE: full[HERE]}
    yield refuse(f"{name} on CPUs", asked, "spec", rule=FP8)
    pipeline = {"spec.tensorParallelSize": 1, "spec.pipelineParallelSize": 2}
    yield refuse(f"{name} in a pipeline", {**full, **pipeline}, "spec", rule=FP8)
    for number, size in enumerate((1, REMOVED, None)):
        change = {**full, "spec.pipelineParallelSize": size}
        yield accept(f"{name} of pipeline {number}", change, rule=FP8)
    for kind in ("auto", "fp8_inc"):
        yield refuse(f"{name} and {kind}", {**full, KV_CACHE: kind}, "spec", rule=FP8_CACHE)
    yield accept(f"{name} and no kvCacheDtype", full, rule=FP8_CACHE)
    yield accept(f"{name} and a null kvCacheDtype", {**full, KV_CACHE: None}, rule=FP8_CACHE)
    yield accept(f"{name} and no engineArgs", {**full, "spec.engineArgs": {}}, rule=FP8_CACHE)

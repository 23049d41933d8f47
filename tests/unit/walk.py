"""One change for every leaf of VLLMServer's schema, so that a new field is covered when it is there."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from tests.cases.full import Body
from tests.cases.schemas import SPECS
from tests.cases.table import IN_FP8, SERVER, VARIANTS, Change, changed, schema_path

WORDS = {
    "spec.engine.version": "0.32.9",
    "spec.engineArgs.kvCacheDtype": "fp8",
    "spec.cpu.threadsBind": "auto",
    "spec.model.name": "other/model",
    "spec.monitoring.podMonitor.interval": "1m",
    "spec.extraArgs[]": "other",
}
"""Where not any text is good."""
OTHER_DEVICE = {
    "spec.device": "gaudi",
    "spec.engine.family": "vllm-gaudi",
    "spec.engine.version": "0.26",
    "spec.cpu": None,
}
RELATED: dict[str, dict[str, Any]] = {
    "spec.device": OTHER_DEVICE,
    "spec.engine.family": OTHER_DEVICE,
    "spec.cpu.threadsBind": {"spec.cpu.threadsBind": "0-3", "spec.cpu.reservedCores": None},
    "spec.extraArgs[]": {"spec.extraArgs.0": "--max-logprobs"},
    "spec.cache.accessModes[]": {"spec.cache.accessModes": ["ReadWriteMany"]},
    "spec.warmup.strategy": {"spec.warmup.strategy": "pad"},
    "spec.fp8.mode": {"spec.fp8": IN_FP8["spec.fp8"]},
}


class LeafChange(NamedTuple):
    """What changes one leaf of a full object: both are changes to FULL."""

    field: str
    """Its path in the schema."""
    before: Change
    after: Change


def leaf_changes() -> list[LeafChange]:
    """One for each leaf: on CPUs if a server there has it, else on Gaudi, else in FP8."""
    found: dict[str, LeafChange] = {}
    for before in VARIANTS[SERVER]:
        full: Body = changed(before)
        for path, schema, value in _leaves(SPECS[SERVER], full["spec"], "spec"):
            field = schema_path(path)
            if field not in found:
                change = RELATED.get(field) or {path: _other(field, schema, value)}
                found[field] = LeafChange(field, before, {**before, **change})
    return sorted(found.values(), key=lambda leaf: leaf.field)


def _leaves(schema: dict[str, Any], value: Any, path: str) -> Iterator[tuple[str, dict[str, Any], Any]]:
    if "properties" in schema:
        for name, child in schema["properties"].items():
            if name in value:
                yield from _leaves(child, value[name], f"{path}.{name}")
    elif "items" in schema:
        for index, item in enumerate(value):
            yield from _leaves(schema["items"], item, f"{path}.{index}")
    elif "additionalProperties" in schema:
        for key, item in value.items():
            yield from _leaves(schema["additionalProperties"], item, f"{path}.{key}")
    else:
        yield path, schema, value


def _other(field: str, schema: dict[str, Any], value: Any) -> Any:
    if field in WORDS:
        return WORDS[field]
    if "enum" in schema:
        return next(choice for choice in schema["enum"] if choice != value)
    if "x-kubernetes-int-or-string" in schema:
        return "9Gi" if "Gi" in str(value) else 9
    if schema["type"] == "boolean":
        return not value
    if schema["type"] in ("integer", "number"):
        return value + 1 if value + 1 <= schema["maximum"] else value / 2
    return f"{value}x"

"""How a case of the table is written: a change to a full, valid object, and the verdict on it."""

import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from tests.cases.full import FULLS, Body

SERVER, QUANTIZATION = "VLLMServer", "FP8Quantization"

Change = Mapping[str, Any]
"""Dotted paths (a number is an index) and their new values."""


class Removed:
    """Stands for a field that is not there."""


REMOVED = Removed()

RANGE = {"min": 1, "step": 2, "max": 8}
ON_GAUDI: Change = {
    "spec.device": "gaudi",
    "spec.engine": {"family": "vllm-gaudi", "version": "0.26"},
    "spec.cpu": REMOVED,
    "spec.gaudi": {
        "generation": "g3",
        "hugepages2Mi": "2Gi",
        "runtimeClassName": "habana",
        "sysNice": True,
        "lazyCollectives": True,
    },
    "spec.warmup": {
        "timeoutSeconds": 7200,
        "skip": False,
        "strategy": "lin",
        "buckets": {
            "promptBatchSize": RANGE,
            "promptQuery": RANGE,
            "promptContext": RANGE,
            "decodeBatchSize": RANGE,
            "decodeBlocks": RANGE,
        },
        "recipeCache": {"enabled": True, "size": "4Gi"},
    },
}
"""What makes the full server one on Gaudi in which every field has a value that may have one there."""
IN_FP8: Change = {
    **ON_GAUDI,
    "spec.engineArgs.kvCacheDtype": REMOVED,
    "spec.fp8": {"quantizationRef": {"name": "calibrated"}, "whilePending": "Wait"},
}
"""What makes it one that serves with a quantization."""
DYNAMIC: Change = {**IN_FP8, "spec.fp8": {"mode": "Dynamic"}}

DATASETS = {
    "persistentVolumeClaim": {"claimName": "samples", "path": "a/b.pkl"},
    "configMap": {"name": "samples", "key": "a.pkl"},
    "secret": {"name": "samples", "key": "a.pkl"},
    "url": {"url": "https://data.example/a.pkl", "sha256": "0" * 64},
    "huggingFace": {"name": "org/samples", "split": "train"},
}
"""Every source of a dataset; one excludes the others."""
WITH_TASKS: Change = {"spec.dataset": REMOVED, "spec.backend": "Command", "spec.tasks": ["gsm8k", "mmlu"]}
"""What makes the full quantization one that measures tasks."""
WITH_EXISTING: Change = {
    "spec.dataset": REMOVED,
    "spec.existing": {"path": "/data/inc/model"},
    "spec.sampleLimit": REMOVED,
    "spec.unifyTo": REMOVED,
    "spec.expertParallel": False,
}
"""What makes it one that measures nothing."""

VARIANTS: Mapping[str, tuple[Change, ...]] = {
    SERVER: ({}, ON_GAUDI, IN_FP8, DYNAMIC),
    QUANTIZATION: (
        *({"spec.dataset": {source: value}} for source, value in DATASETS.items()),
        WITH_TASKS,
        WITH_EXISTING,
    ),
}
"""Changes to the full object of a kind that make objects of it in which together every field has a value."""


@dataclass(frozen=True)
class Case:
    """One change to the full object of a kind, and its verdict.

    `path` is the field that a refusal names, and `says` a part of the message. `rule` is the beginning of
    a Rule's message: the case accepts or refuses for that rule's sake. `covers` names constraints of the
    CRD's schema as (path, keyword). `old` is the change that made the object that was stored before: what
    an update alone decides, the models cannot judge.
    """

    name: str
    change: Change
    accepted: bool
    path: str = ""
    says: str = ""
    rule: str = ""
    covers: tuple[tuple[str, str], ...] = ()
    old: Change | None = None
    root: bool = field(default=False)
    """The rule stands at the root of the CRD, where the API server names no path."""
    kind: str = SERVER


def changed(change: Change, kind: str = SERVER) -> Body:
    """The full object of a kind with a change."""
    body: Body = _copy(FULLS[kind])
    for dotted, value in change.items():
        *parents, last = dotted.split(".")
        node: Any = body
        for part in parents:
            node = node[int(part)] if isinstance(node, list) else node.setdefault(part, {})
        key: Any = int(last) if isinstance(node, list) else last
        if value is REMOVED:
            del node[key]
        else:
            node[key] = _copy(value)
    return body


def _copy(value: Any) -> Any:
    # Not a deepcopy: that would keep parts shared that stand in several places, and change them all.
    return json.loads(json.dumps(value))


def example_key(path: str, kind: str = SERVER) -> str:
    """The key that the full object of a kind has in the map at a path of the schema."""
    node: Any = FULLS[kind]
    for part in path.split("."):
        node = node[part.removesuffix("[]")]
        node = node[0] if part.endswith("[]") else node
    return str(next(iter(node)))


def schema_path(path: str) -> str:
    """A dotted path of a change or a message as a path of the schema: indexes become `[]`."""
    parts = path.replace("[", ".[").split(".")
    text = ".".join("[]" if part.strip("[]").isdecimal() else part for part in parts)
    return text.replace(".[]", "[]")


def shown(path: str) -> str:
    """A dotted path as Kubernetes shows it: numbers in brackets."""
    return "".join(f"[{p}]" if p.isdecimal() else f".{p}" for p in path.split("."))[1:]


def accept(name: str, change: Change, *, rule: str = "") -> Case:
    """A change that is taken."""
    return Case(name, change, accepted=True, rule=rule)


def refuse(
    name: str,
    change: Change,
    path: str,
    says: str = "",
    *,
    rule: str = "",
    covers: Sequence[tuple[str, str]] = (),
) -> Case:
    """A change that is not."""
    return Case(
        name,
        change,
        accepted=False,
        path=shown(path),
        says=says or rule,
        rule=rule,
        covers=tuple(covers),
        root=path == "metadata.name",
    )


def of_quantizations(*groups: Iterator[Case]) -> Iterator[Case]:
    """The cases, as such of FP8Quantization."""
    for case in itertools.chain(*groups):
        yield replace(case, kind=QUANTIZATION, name=f"{QUANTIZATION}: {case.name}")


def table(*groups: Iterator[Case] | Sequence[Case]) -> dict[str, Case]:
    """All cases by name; no name comes twice."""
    cases: dict[str, Case] = {}
    for case in itertools.chain(*groups):
        if case.name in cases:
            raise ValueError(f"two cases are called {case.name!r}")
        cases[case.name] = case
    return cases

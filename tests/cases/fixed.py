"""Cases of updates of an FP8Quantization, of which next to nothing may change; each object alone is good."""

from collections.abc import Iterator
from typing import Any

from tests.cases.full import FULL_QUANTIZATION
from tests.cases.table import DATASETS, REMOVED, WITH_EXISTING, WITH_TASKS, Case, Change

SPEC = FULL_QUANTIZATION["spec"]
OTHER: dict[str, Change] = {
    "model": {"spec.model.revision": "v2"},
    "cache": {"spec.cache.claimName": "other"},
    "dataset": {"spec.dataset.persistentVolumeClaim.path": "other.pkl"},
    "tensorParallelSize": {"spec.tensorParallelSize": 8},
    "batchSize": {"spec.batchSize": 17},
    "sampleLimit": {"spec.sampleLimit": 257},
    "unifyTo": {"spec.unifyTo": 1},
    "expertParallel": {"spec.expertParallel": False},
    "engine": {"spec.engine.version": "0.26.1"},
    "image": {"spec.image": "registry.example/vllm:v2"},
    "imagePullPolicy": {"spec.imagePullPolicy": "Always"},
    "imagePullSecrets": {"spec.imagePullSecrets.0.name": "other"},
    "gaudi": {"spec.gaudi.generation": "g2"},
    "extraEnv": {"spec.extraEnv.0.value": "b"},
    "resources": {"spec.resources.limits.memory": "25Gi"},
    "shmSize": {"spec.shmSize": "5Gi"},
    "backoffLimit": {"spec.backoffLimit": 3},
    "activeDeadlineSeconds": {"spec.activeDeadlineSeconds": 86401},
    "nodeSelector": {"spec.nodeSelector.disk": "slow"},
    "tolerations": {"spec.tolerations.0.key": "b"},
    "affinity": {"spec.affinity.podAffinity": REMOVED},
    "priorityClassName": {"spec.priorityClassName": "low"},
    "serviceAccountName": {"spec.serviceAccountName": "other"},
    "podLabels": {"spec.podLabels.team": "b"},
    "podAnnotations": {"spec.podAnnotations.note": "b"},
    "proxy": {"spec.proxy.noProxy": "other"},
}
"""One change of every field that cannot change, but for those that take another object."""
GIVEN: dict[str, tuple[Change, Change]] = {
    "tasks": (WITH_TASKS, {**WITH_TASKS, "spec.tasks": ["gsm8k", "other"]}),
    "existing": (WITH_EXISTING, {**WITH_EXISTING, "spec.existing.path": "/data/inc/other"}),
    "backend": (WITH_EXISTING, {**WITH_EXISTING, "spec.backend": "Command"}),
}
"""Those, before and after."""
OPTIONAL = (
    *(
        "sampleLimit",
        "unifyTo",
        "engine",
        "image",
        "imagePullPolicy",
        "imagePullSecrets",
        "gaudi",
        "extraEnv",
    ),
    *("resources", "shmSize", "activeDeadlineSeconds", "nodeSelector", "tolerations", "affinity"),
    *("priorityClassName", "serviceAccountName", "podLabels", "podAnnotations"),
    "proxy",
)
"""Fields that may be absent."""
BESIDE: dict[str, Change] = {"unifyTo": {"spec.expertParallel": False}, "engine": {"spec.image": REMOVED}}
"""What must be so then."""
RULE = "{} cannot change"


def updates() -> Iterator[Case]:
    """Every field by name."""
    for field, change in OTHER.items():
        yield _refused(f"{field} changes", field, {}, change)
    for field, (old, new) in GIVEN.items():
        yield _refused(f"{field} changes", field, old, new)
    for field in OPTIONAL:
        beside = BESIDE.get(field, {})
        without = {**beside, f"spec.{field}": REMOVED}
        yield _refused(f"{field} removed", field, beside, without)
        yield _refused(f"{field} set", field, without, beside)
    for field in ("dataset", "existing"):
        yield _refused(f"{field} for the other", field, {}, WITH_EXISTING)
        yield _refused(f"{field} instead of the other", field, WITH_EXISTING, {})
    yield _refused("tasks for a dataset", "tasks", WITH_TASKS, {})
    yield _refused("tasks instead of a dataset", "tasks", {}, WITH_TASKS)
    yield from _same()
    switched = {"on": (False, True), "off": (True, False), "removed": (True, REMOVED), "set": (REMOVED, True)}
    for how, (off, on) in switched.items():
        yield _taken(f"isolated {how}", {"spec.isolated": off}, {"spec.isolated": on})
    for field in ("retry", "ttlSecondsAfterFinished"):
        path = f"spec.{field}"
        numbers = {"grows": (1, 2), "shrinks": (2, 1), "removed": (1, REMOVED), "set": (REMOVED, 1)}
        for how, (before, after) in numbers.items():
            yield _taken(f"{field} {how}", {path: before}, {path: after})


def _refused(name: str, field: str, old: Change, new: Change) -> Case:
    rule = RULE.format(field)
    return Case(name, new, accepted=False, path="spec", says=rule, rule=rule, old=old)


def _same() -> Iterator[Case]:
    """What is another text and the same object."""
    for field in (*OTHER, *GIVEN):
        old = GIVEN.get(field, ({}, {}))[0]
        retried = {**old, "spec.retry": 2}
        yield Case(f"{field} stays", retried, accepted=True, rule=RULE.format(field), old=old)
    for field in ("sampleLimit", "image", "extraEnv", "affinity", "gaudi"):
        yield _taken(f"{field} null", {f"spec.{field}": REMOVED}, {f"spec.{field}": None})
    defaults: dict[str, Any] = {"batchSize": 32, "backoffLimit": 1, "backend": "Script"}
    for field, default in defaults.items():
        yield _taken(f"{field} by default", {f"spec.{field}": REMOVED}, {f"spec.{field}": default})
    lists: dict[str, list[Any]] = {
        "extraEnv": SPEC["extraEnv"],
        "imagePullSecrets": [{"name": "a"}, {"name": "b"}],
    }
    for field, items in lists.items():
        yield _taken(f"{field} turned", {f"spec.{field}": items}, {f"spec.{field}": items[::-1]})
    yield _taken("tasks turned", WITH_TASKS, {**WITH_TASKS, "spec.tasks": ["mmlu", "gsm8k"]})
    dataset = {"huggingFace": {"name": "a/b"}}
    split = {"huggingFace": {"name": "a/b", "split": "train"}}
    yield _taken("split by default", {"spec.dataset": dataset}, {"spec.dataset": split})
    yield _taken("dataset in nulls", {}, {"spec.dataset": {**dict.fromkeys(DATASETS), **SPEC["dataset"]}})


def _taken(name: str, old: Change, new: Change) -> Case:
    return Case(name, new, accepted=True, old=old)

"""Cases of what FP8Quantizations alone have."""

from collections.abc import Iterator

from tests.cases.builders import (
    beside,
    bounds,
    choices,
    lists,
    optional,
    quantities,
    required,
    things,
    truths,
    words,
)
from tests.cases.datasets import DATASET, paths
from tests.cases.rules import (
    BACKEND,
    CALIBRATED_FAMILY,
    EXPERTS,
    FILE_DOTS,
    FOLDER,
    MAX_INT,
    MEASURED_CARDS,
    NOT_MEASURED,
    ONE_INPUT,
    TRUST,
    UNIFY,
    object_names,
)
from tests.cases.table import DATASETS, REMOVED, WITH_EXISTING, WITH_TASKS, Case, Change, accept, refuse

TENSOR, UNIFY_TO, PARALLEL = "spec.tensorParallelSize", "spec.unifyTo", "spec.expertParallel"
ALONE: Change = {UNIFY_TO: REMOVED, PARALLEL: False}
"""Nothing is unified."""
TASKS, GIVEN = "spec.tasks", "spec.existing"


def inputs() -> Iterator[Case]:
    """What is measured, and how: a dataset, tasks, or nothing."""
    yield from beside(WITH_TASKS, _tasks())
    yield from beside(WITH_EXISTING, _existing())
    given: dict[str, Change] = {
        "a dataset": {},
        "tasks": WITH_TASKS,
        "existing": WITH_EXISTING,
        "a dataset and nulls": {TASKS: None, GIVEN: None},
    }
    for name, change in given.items():
        yield accept(f"measures {name}", change, rule=ONE_INPUT)
    dataset, tasks, existing = (
        {DATASET: {"configMap": DATASETS["configMap"]}},
        {TASKS: ["a"]},
        {GIVEN: {"path": "/data/a"}},
    )
    wrong: dict[str, Change] = {
        "nothing": {DATASET: REMOVED},
        "null": {DATASET: None},
        "a dataset and tasks": tasks,
        "a dataset and existing": {**WITH_EXISTING, **dataset},
        "tasks and existing": {**WITH_EXISTING, **tasks},
        "all": {**WITH_EXISTING, **dataset, **tasks, **existing},
    }
    for name, change in wrong.items():
        yield refuse(f"measures {name}", change, "spec", rule=ONE_INPUT)
    yield from _backend()


def _tasks() -> Iterator[Case]:
    yield from lists(TASKS, lambda n: f"task-{n}", 16, empty=False)
    bad = ("-a", "--model", "a,b", "a b", "a\n", "a/b", ".a", "ä", "$(A)", "a=b")
    yield from words(f"{TASKS}.0", longest=128, good=("gsm8k", "mmlu_pro", "a.b-c", "_a", "0"), bad=bad)
    covers = [(TASKS, "x-kubernetes-list-type")]
    yield refuse("tasks repeat", {TASKS: ["a", "b", "a"]}, TASKS, covers=covers)
    yield accept("tasks differ by case", {TASKS: ["a", "A"]})


def _existing() -> Iterator[Case]:
    path = f"{GIVEN}.path"
    good = ("/data/a", "/data/inc/a b/c", "/data/...", "/data/.a", "/data/{{ a }}", "/data/ä")
    bad = (
        "a",
        "/",
        "/data",
        "/data/",
        "/data//a",
        "/database/a",
        "/etc/a",
        "/data/a/",
        "/data/a\n",
        "/data/\x00",
    )
    yield from paths(path, FOLDER, good=good, bad=bad, fill="/data/" + "a" * 1024)
    for dots in ("/data/..", "/data/../a", "/data/a/..", "/data/.", "/data/./a", "/data/a/../b"):
        yield refuse(f"existing {dots}", {path: dots}, GIVEN, rule=FILE_DOTS)
    yield accept("existing without dots", {path: "/data/a.b/..c"}, rule=FILE_DOTS)
    yield from required(path)
    yield from things(GIVEN)
    for name, change in {"unifyTo": {UNIFY_TO: 2}, "sampleLimit": {"spec.sampleLimit": 1}}.items():
        yield refuse(f"existing and {name}", change, "spec", rule=NOT_MEASURED)
    unified = {PARALLEL: True, TENSOR: 1}
    yield refuse("existing and expertParallel", unified, "spec", rule=NOT_MEASURED)
    yield accept("existing alone", {}, rule=NOT_MEASURED)
    yield accept("existing and nulls", {UNIFY_TO: None, "spec.sampleLimit": None}, rule=NOT_MEASURED)
    for number, trust in enumerate((False, None, REMOVED)):
        yield accept(f"existing not trusted {number}", {"spec.model.trustRemoteCode": trust}, rule=TRUST)


def _backend() -> Iterator[Case]:
    backend = "spec.backend"
    yield from beside(WITH_EXISTING, choices(backend, "Script", "Command"))
    yield from optional(backend)
    yield accept("Script measures a dataset", {backend: "Script"}, rule=BACKEND)
    yield accept("Command measures tasks", WITH_TASKS, rule=BACKEND)
    yield refuse("Command measures a dataset", {backend: "Command"}, "spec", rule=BACKEND)
    for number, script in enumerate(("Script", REMOVED, None)):
        change = {**WITH_TASKS, backend: script}
        yield refuse(f"Script {number} measures tasks", change, "spec", rule=BACKEND)
    trust = "spec.model.trustRemoteCode"
    yield accept("trusted code", {trust: True}, rule=TRUST)
    for name, what in {"a dataset": {}, "tasks": WITH_TASKS}.items():
        for number, no in enumerate((False, REMOVED, None)):
            yield refuse(f"code of {name} not trusted {number}", {**what, trust: no}, "spec", rule=TRUST)


def ranks() -> Iterator[Case]:
    """Cards, and what is made of what each has measured."""
    yield from beside(ALONE, bounds(TENSOR, 1, 8))
    yield refuse("half a card", {**ALONE, TENSOR: 1.5}, TENSOR)
    yield accept("a card by default", {**ALONE, TENSOR: REMOVED})
    for cards in (1, 2, 4, 8):
        yield accept(f"{cards} cards", {**ALONE, TENSOR: cards}, rule=MEASURED_CARDS)
    for cards in (3, 5, 6, 7):
        yield refuse(f"{cards} cards", {**ALONE, TENSOR: cards}, "spec", rule=MEASURED_CARDS)
    yield from beside({TENSOR: 8}, bounds(UNIFY_TO, 1, 4))
    for cards, fewer in ((2, 1), (4, 1), (4, 2), (8, 1), (8, 2), (8, 4)):
        yield accept(f"{cards} cards to {fewer}", {TENSOR: cards, UNIFY_TO: fewer}, rule=UNIFY)
    for cards, fewer in ((1, 1), (2, 2), (4, 4), (1, 2), (2, 4), (4, 3), (8, 3)):
        change = {TENSOR: cards, UNIFY_TO: fewer}
        yield refuse(f"{cards} cards to {fewer}", change, "spec", rule=UNIFY)
    yield refuse("cards by default to 2", {TENSOR: REMOVED}, "spec", rule=UNIFY)
    yield from beside({PARALLEL: False}, optional(UNIFY_TO))
    yield from truths(PARALLEL)
    yield from optional(PARALLEL)
    yield accept("experts of one card", {TENSOR: 1, UNIFY_TO: REMOVED}, rule=EXPERTS)
    yield accept("experts of unified cards", {}, rule=EXPERTS)
    yield accept("no experts", ALONE, rule=EXPERTS)
    for number, apart in enumerate((REMOVED, None)):
        yield refuse(f"experts apart {number}", {UNIFY_TO: apart}, "spec", rule=EXPERTS)


def family() -> Iterator[Case]:
    """Only one engine can be calibrated."""
    path = "spec.engine.family"
    yield from choices(path, "vllm-gaudi")
    yield refuse("upstream vllm", {path: "vllm"}, "spec", rule=CALIBRATED_FAMILY)
    yield accept("vllm of Gaudi", {}, rule=CALIBRATED_FAMILY)
    yield accept("no engine", {"spec.image": REMOVED, "spec.engine": REMOVED}, rule=CALIBRATED_FAMILY)


def numbers() -> Iterator[Case]:
    """Counts and times, each alone."""
    limits = {
        "batchSize": (1, 4096),
        "sampleLimit": (1, MAX_INT),
        "backoffLimit": (0, 100),
        "activeDeadlineSeconds": (60, MAX_INT),
        "ttlSecondsAfterFinished": (0, MAX_INT),
        "retry": (0, MAX_INT),
    }
    for field, (least, most) in limits.items():
        yield from bounds(f"spec.{field}", least, most)
        yield from optional(f"spec.{field}")
    yield from quantities("spec.shmSize", zero=True)
    yield from truths("spec.isolated")
    yield from optional("spec.isolated")


def parts() -> Iterator[Case]:
    """What must be there, what need not, and what is an object."""
    yield Case("as it is", {}, accepted=True)
    yield from required("spec.model", "spec.model.name", "spec.cache", "spec.cache.claimName")
    yield from required("spec.engine.family", "spec.engine.version", "spec.model.tokenSecretRef.name")
    yield from required("spec.imagePullSecrets.0.name")
    yield from optional("spec.model.tokenSecretRef", "spec.model.tokenSecretRef.key", "spec.model.revision")
    yield from optional("spec.image", "spec.imagePullPolicy", "spec.imagePullSecrets", "spec.gaudi")
    yield from optional("spec.extraEnv", "spec.extraEnv.0.value", "spec.resources", "spec.shmSize")
    yield from optional("spec.resources.limits", "spec.resources.requests")
    objects = ("", ".model", ".model.tokenSecretRef", ".cache", ".engine", ".resources", ".extraEnv.0")
    sources = (".1.valueFrom", ".1.valueFrom.secretKeyRef", ".2.valueFrom.configMapKeyRef")
    more = (
        *(f".extraEnv{tail}" for tail in sources),
        ".extraEnv.3.valueFrom.fieldRef",
        ".imagePullSecrets.0",
    )
    for tail in (*objects, *more):
        for thing in ("x", [1]):
            yield refuse(f"spec{tail}: {thing!r} for an object", {f"spec{tail}": thing}, f"spec{tail}")


def cache() -> Iterator[Case]:
    """The claim that is calibrated in."""
    yield from object_names("spec.cache.claimName")
    yield from bounds("spec.cache.fsGroup", 1, MAX_INT)
    yield from optional("spec.cache.fsGroup")

"""Rows of the leaf table for FP8Quantizations, of which each is another object: a spec cannot change.

Places begin with the Job that they are in, `prefetch` or `calibration`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from tests.campaign import fields, placement
from tests.campaign.base import ACCOUNTS, BASE, RUNTIMES, Spec, edited
from tests.campaign.table import GONE, OTHER, Change, Row, row
from tests.cases.table import DATASETS, REMOVED

COMMIT = "0123456789abcdef" * 2 + "01234567"
LIMITS = {"cpu": "8", "memory": "200Gi"}
JOBS = ("prefetch", "calibration")
RECIPE = {"fingerprint": OTHER}
"""The result is another one."""
CARDS = ("limits", "requests")

_ALIKE = (
    *("image", "imagePullPolicy", "imagePullSecrets", "extraEnv", "nodeSelector", "tolerations", "affinity"),
    *("priorityClassName", "serviceAccountName", "podLabels", "podAnnotations", "proxy"),
)
PLAIN: Spec = {
    "model": {
        "name": "org/model",
        "revision": "main",
        "tokenSecretRef": {"name": "token", "key": "hub"},
        "trustRemoteCode": True,
        "hubEndpoint": "https://hub.example",
    },
    "cache": {"claimName": "weights", "fsGroup": 2000},
    "dataset": {"persistentVolumeClaim": DATASETS["persistentVolumeClaim"]},
    "tensorParallelSize": 4,
    "batchSize": 16,
    "sampleLimit": 256,
    "unifyTo": 2,
    "expertParallel": True,
    "backend": "Script",
    "engine": {"family": "vllm-gaudi", "version": "0.26"},
    "gaudi": {
        "hugepages2Mi": "2Gi",
        "runtimeClassName": RUNTIMES[0],
        "sysNice": True,
        "lazyCollectives": True,
    },
    "resources": {"limits": LIMITS, "requests": {"cpu": "4", "memory": "100Gi"}},
    "shmSize": "2Gi",
    "backoffLimit": 3,
    "activeDeadlineSeconds": 86400,
    "ttlSecondsAfterFinished": 3600,
    "isolated": True,
    "retry": 1,
    **{field: BASE[field] for field in _ALIKE},
}
NOT_MEASURED: Change = {
    **dict.fromkeys(("dataset", "sampleLimit", "unifyTo"), REMOVED),
    "expertParallel": False,
    "model.revision": COMMIT,
}
BASES: Mapping[str, Spec] = {
    **{source: edited(PLAIN, {"dataset": {source: value}}) for source, value in DATASETS.items()},
    "plain": PLAIN,
    "generation": edited(PLAIN, {"gaudi.generation": "g3"}),
    "tasks": edited(PLAIN, {"dataset": REMOVED, "backend": "Command"}) | {"tasks": ["gsm8k", "mmlu"]},
    "existing": edited(PLAIN, NOT_MEASURED) | {"existing": {"path": "/data/inc/model"}},
}
"""What is changed."""


def both(seen: Mapping[str, Any]) -> dict[str, Any]:
    """What both Jobs show."""
    return {f"{job}.{place}": value for job in JOBS for place, value in seen.items()}


def shown(path: str, value: Any, place: str, unset: Any = GONE, **more: Any) -> Iterator[Row]:
    """A leaf that is seen in one place, as it stands, and `unset` there when it is removed."""
    yield row({path: value}, {place: value, **more})
    yield row({path: REMOVED}, {place: unset, **more})


def model() -> Iterator[Row]:
    """`model` and `cache`."""
    snapshot = f"/data/hub/models--other--one/snapshots/{COMMIT}"
    measured = {"calibration.args.--name": "one", "calibration.args.--model": snapshot}
    yield row({"model.name": "other/one"}, {"prefetch.args.model": "other/one"} | measured | RECIPE)
    yield from shown("model.revision", "v2", "prefetch.args.--revision")
    token = "prefetch.env.HF_TOKEN"
    reference = f"{token}.valueFrom.secretKeyRef"
    yield row({"model.tokenSecretRef.name": "other"}, {f"{reference}.name": "other"})
    yield from shown("model.tokenSecretRef.key", "k", f"{reference}.key", "HF_TOKEN")
    yield row({"model.tokenSecretRef": REMOVED}, {token: GONE})
    hub = "https://other.example"
    yield row({"model.hubEndpoint": hub}, {"prefetch.env.HF_ENDPOINT.value": hub})
    yield row({"model.hubEndpoint": REMOVED}, {"prefetch.env.HF_ENDPOINT": GONE})
    for no in (False, REMOVED):
        yield row({"model.trustRemoteCode": no}, refused="model.trustRemoteCode: true is required")
    claim = "pod.volumes.cache.persistentVolumeClaim.claimName"
    yield row({"cache.claimName": "other"}, both({claim: "other"}))
    group = "pod.securityContext.fsGroup"
    yield row({"cache.fsGroup": 3000}, both({group: 3000}))
    yield row({"cache.fsGroup": REMOVED}, both({group: GONE, f"{group}ChangePolicy": GONE}))


def datasets() -> Iterator[Row]:
    """`dataset`: only the prefetch looks at it; what it stages is the same here."""
    volume = "prefetch.pod.volumes.dataset"
    here = "dataset.persistentVolumeClaim"
    yield row({f"{here}.claimName": "other"}, {f"{volume}.persistentVolumeClaim.claimName": "other"})
    yield row({f"{here}.path": "c/d.pkl"}, {"prefetch.args.--dataset-file": "/dataset/c/d.pkl"})
    for source, name in (("configMap", "name"), ("secret", "secretName")):
        here, place = f"dataset.{source}", f"{volume}.{source}"
        yield row({f"{here}.name": "other"}, {f"{place}.{name}": "other"}, base=source)
        yield row({f"{here}.key": "b.pkl"}, {f"{place}.items.0.key": "b.pkl"}, base=source)
    url, digest = "http://other.example/a", "1" * 64
    yield row({"dataset.url.url": url}, {"prefetch.args.--dataset-url": url}, base="url")
    yield row({"dataset.url.sha256": digest}, {"prefetch.args.--dataset-sha256": digest}, base="url")
    here, split = "dataset.huggingFace", "prefetch.args.--dataset-split"
    named = {"prefetch.args.--dataset-name": "other"}
    yield row({f"{here}.name": "other"}, named, base="huggingFace")
    yield row({f"{here}.split": "test"}, {split: "test"}, base="huggingFace")
    yield row({f"{here}.split": REMOVED}, base="huggingFace")  # it was the default
    yield row({"dataset": REMOVED}, refused="give exactly one of dataset")


def inputs() -> Iterator[Row]:
    """`tasks`, `existing` and `backend`."""
    yield row({"tasks.0": "arc"}, both({"args.--task": "arc mmlu"}) | RECIPE, base="tasks")
    yield row({"tasks": REMOVED}, refused="give exactly one of dataset", base="tasks")
    path = "/data/inc/other"
    yield row({"existing.path": path}, {"calibration.args.--existing": path} | RECIPE, base="existing")
    yield row({"existing": REMOVED}, refused="give exactly one of dataset", base="existing")
    other = {"record.staged.commit": "f" * 40} | RECIPE
    yield row({"model.revision": "f" * 40}, other, base="existing")
    yield row({"backend": "Command"}, RECIPE, base="existing")
    yield row({"backend": "Command"}, refused="backend Script measures a dataset")
    yield row({"backend": REMOVED}, refused="backend Script measures a dataset", base="tasks")


def measuring() -> Iterator[Row]:
    """What the calibration alone is told."""
    argument, resources = "calibration.args", "calibration.container.resources"
    eight = {f"{resources}.{side}.habana.ai/gaudi": "8" for side in CARDS}
    tensor = f"{argument}.--tensor-parallel-size"
    yield row({"tensorParallelSize": 8}, {tensor: "8"} | eight | RECIPE)
    yield row({"tensorParallelSize": REMOVED}, refused="unifyTo must be a divisor")
    one = {"tensorParallelSize": REMOVED, "unifyTo": REMOVED}
    single = {f"{resources}.{side}.habana.ai/gaudi": "1" for side in CARDS}
    yield row(one, {tensor: "1", f"{argument}.--unify-to": GONE} | single | RECIPE)
    yield row({"batchSize": 64}, {f"{argument}.--batch-size": "64"} | RECIPE)
    yield row({"batchSize": REMOVED}, {f"{argument}.--batch-size": "32"} | RECIPE)
    for limit, words in ((9, "9"), (REMOVED, GONE)):
        yield row({"sampleLimit": limit}, both({"args.--sample-limit": words}) | RECIPE)
        # Tasks are of a size of their own: only the measuring is limited.
        yield row({"sampleLimit": limit}, {f"{argument}.--sample-limit": words} | RECIPE, base="tasks")
    yield row({"unifyTo": 1}, {f"{argument}.--unify-to": "1"} | RECIPE)
    yield row({"unifyTo": REMOVED}, refused="expertParallel with tensorParallelSize above 1")
    for no in (False, REMOVED):
        yield row({"expertParallel": no}, {f"{argument}.--expert-parallel": GONE} | RECIPE)


def engine() -> Iterator[Row]:
    """The engine and its image."""
    yield row({"engine.family": "vllm"}, refused="engine.family must be vllm-gaudi")
    yield row({"engine.version": "0.26.1"}, {"record.engine": "vllm-gaudi 0.26.1"} | RECIPE)
    yield row({"engine.version": "0.99"}, stalled=("InvalidForEngine", "no profile for vllm-gaudi 0.99"))
    yield row({"engine": REMOVED}, refused="engine is required with an image of your own")
    for name, change in (("a/b:c", {"image": "a/b:c"}), ("registry.example/gaudi:v1", {"image": REMOVED})):
        yield row(change, both({"container.image": name}) | {"record.image": name} | RECIPE)
    default = both({"container.image": "registry.example/gaudi:v1"})
    change = {"engine": REMOVED, "image": REMOVED}
    yield row(change, default | {"record.image": "registry.example/gaudi:v1"} | RECIPE)
    policy, secrets = "container.imagePullPolicy", "pod.imagePullSecrets"
    yield row({"imagePullPolicy": "Always"}, both({policy: "Always"}))
    yield row({"imagePullPolicy": REMOVED}, both({policy: GONE}))
    yield row({"imagePullSecrets.0.name": "other"}, both({f"{secrets}.0.name": "other"}))
    yield row({"imagePullSecrets": REMOVED}, both({secrets: GONE}))


def gaudi() -> Iterator[Row]:
    """`gaudi`: but for the nodes, only the calibration has cards."""
    g2 = both({"pod.nodeSelector.generation": "2"}) | {"calibration.args.--generation": "g2"}
    none = both({"pod.nodeSelector.generation": GONE}) | {"calibration.args.--generation": GONE}
    yield row({"gaudi.generation": "g2"}, g2 | RECIPE, base="generation")
    yield row({"gaudi.generation": REMOVED}, none | RECIPE, base="generation")
    pages = [f"calibration.container.resources.{side}.hugepages-2Mi" for side in CARDS]
    yield row({"gaudi.hugepages2Mi": "4Gi"}, dict.fromkeys(pages, "4Gi"))
    yield row({"gaudi.hugepages2Mi": REMOVED}, dict.fromkeys(pages, GONE))
    yield from shown("gaudi.runtimeClassName", RUNTIMES[1], "calibration.pod.runtimeClassName")
    for no in (False, REMOVED):
        yield row({"gaudi.sysNice": no}, {"calibration.container.securityContext.capabilities.add": GONE})
    lazy = "calibration.env.PT_HPU_ENABLE_LAZY_COLLECTIVES"
    yield row({"gaudi.lazyCollectives": False}, {f"{lazy}.value": "false"})
    yield row({"gaudi.lazyCollectives": REMOVED}, {lazy: GONE})


def resources() -> Iterator[Row]:
    """`resources` and `shmSize`; until a volume is bound, the prefetch asks for no less than the rest."""
    for side, amounts in (("limits", {"cpu": "9"}), ("requests", {"cpu": "5"})):
        leaf, place = f"spec.resources.{side}.*", f"container.resources.{side}"
        change: Change = {f"resources.{side}.cpu": amounts["cpu"]}
        yield row(change, both({f"{place}.cpu": amounts["cpu"]}), leaf=leaf)
    asked = "container.resources.requests"
    less = {f"prefetch.{asked}.{name}": value for name, value in {"cpu": "8", "memory": "200Gi"}.items()}
    gone = {f"calibration.{asked}.{name}": GONE for name in LIMITS}
    yield row({"resources.requests": REMOVED}, less | gone, leaf="spec.resources.requests.*")
    limits = "container.resources.limits"
    free = {"prefetch.container.resources.limits": GONE} | {
        f"calibration.{limits}.{name}": GONE for name in LIMITS
    }
    yield row({"resources.limits": REMOVED}, free, leaf="spec.resources.limits.*")
    yield from shown("shmSize", "3Gi", "calibration.pod.volumes.shm.emptyDir.sizeLimit", "16Gi")


def jobs() -> Iterator[Row]:
    """How often and how long, and what becomes of a Job."""
    spec = "calibration.job.spec"
    yield from shown("backoffLimit", 5, f"{spec}.backoffLimit", 1)
    yield from shown("activeDeadlineSeconds", 60, f"{spec}.activeDeadlineSeconds")
    yield row({"ttlSecondsAfterFinished": 60}, {"expiry": "2026-01-02T04:01:00Z"})
    yield row({"ttlSecondsAfterFinished": REMOVED}, {"expiry": GONE})
    for no in (False, REMOVED):
        yield row({"isolated": no}, both({"policy": GONE}))
    retry = "job.annotations.vllm-operator.dev/retry"
    yield row({"retry": 2}, both({retry: "2"}))
    yield row({"retry": REMOVED}, both({retry: "0"}))


def pods() -> Iterator[Row]:
    """What is as in a server's pods: those rows, and in which Jobs they are seen."""
    for each in (*placement.of_both_kinds(), *fields.words(), *fields.pods()):
        place = each.leaf.removeprefix("spec.").split(".")[0].split("[")[0]
        if place == "extraEnv":
            yield replace(each, seen=both(each.seen) | RECIPE, base="plain")
        elif place == "proxy":
            only = {f"prefetch.{where}": value for where, value in each.seen.items()}
            yield replace(each, seen=only, base="plain")
        elif each.stalled:
            # Only the API server knows what is wrong with it.
            ((path, value),) = each.change.items()
            yield replace(each, seen=both({f"pod.{path}": value}), stalled=None, base="plain")
        elif place not in ("extraArgs", "serviceAccountName"):
            yield replace(each, seen=both(each.seen), base="plain")
    account = "pod.serviceAccountName"
    yield row({"serviceAccountName": ACCOUNTS[1]}, both({account: ACCOUNTS[1]}))
    made = {"account.name": "llama-fp8q"} | both({account: "llama-fp8q"})
    yield row({"serviceAccountName": REMOVED}, made)


def rows() -> list[Row]:
    """Every row."""
    parts = (model, datasets, inputs, measuring, engine, gaudi, resources, jobs, pods)
    of_both = [each for part in parts for each in part()]
    return [replace(each, base="plain") if each.base == "cpu" else each for each in of_both]

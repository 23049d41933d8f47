"""How a case of the table is written: a change to a full, valid VLLMServer, and the verdict on it."""

import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Body = dict[str, Any]
Change = Mapping[str, Any]
"""Dotted paths (a number is an index) and their new values."""


class Removed:
    """Stands for a field that is not there."""


REMOVED = Removed()

REQUIREMENT = {"key": "a", "operator": "In", "values": ["b"]}
NODE_TERM = {
    "matchExpressions": [REQUIREMENT],
    "matchFields": [{"key": "metadata.name", "operator": "In", "values": ["b"]}],
}
SELECTOR = {"matchLabels": {"a": "b"}, "matchExpressions": [REQUIREMENT]}
POD_TERM = {
    "labelSelector": SELECTOR,
    "topologyKey": "kubernetes.io/hostname",
    "matchLabelKeys": ["a"],
    "mismatchLabelKeys": ["b"],
}
POD_AFFINITY = {
    "requiredDuringSchedulingIgnoredDuringExecution": [POD_TERM],
    "preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 1, "podAffinityTerm": POD_TERM}],
}

FULL: Body = {
    "apiVersion": "vllm-operator.dev/v1alpha1",
    "kind": "VLLMServer",
    "metadata": {"name": "full"},
    "spec": {
        "model": {
            "name": "org/model",
            "revision": "main",
            "servedNames": ["one", "two"],
            "tokenSecretRef": {"name": "token", "key": "HF_TOKEN"},
            "chatTemplate": {"configMapKeyRef": {"name": "templates", "key": "chat"}},
            "trustRemoteCode": True,
            "offline": False,
            "hubEndpoint": "https://hub.example",
        },
        "device": "cpu",
        "engine": {"family": "vllm", "version": "0.32"},
        "image": "registry.example/vllm:v1",
        "imagePullPolicy": "IfNotPresent",
        "imagePullSecrets": [{"name": "pull"}],
        "tensorParallelSize": 2,
        "pipelineParallelSize": 1,
        "engineArgs": {
            "dtype": "bfloat16",
            "maxModelLen": 4096,
            "maxNumSeqs": 16,
            "maxNumBatchedTokens": 8192,
            "blockSize": 128,
            "gpuMemoryUtilization": 0.9,
            "enablePrefixCaching": True,
            "kvCacheDtype": "auto",
            "seed": 0,
            "enforceEager": False,
        },
        "extraArgs": ["--max-log-len", "100"],
        "extraEnv": [
            {"name": "A", "value": "a"},
            {"name": "B", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k", "optional": True}}},
            {"name": "C", "valueFrom": {"configMapKeyRef": {"name": "c", "key": "k", "optional": False}}},
            {"name": "D", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
        ],
        "cpu": {"kvCache": "4Gi", "threadsBind": "auto", "reservedCores": 1},
        "cache": {
            "size": "10Gi",
            "storageClassName": "fast",
            "accessModes": ["ReadWriteOnce"],
            "retention": "Retain",
            "fsGroup": 1000,
        },
        "prefetch": False,
        "replicas": 1,
        "service": {"type": "ClusterIP", "port": 8008, "annotations": {"note": "b"}},
        "warmup": {"timeoutSeconds": 7200},
        "rollout": {"drainSeconds": 60, "progressDeadlineSeconds": 604800, "refresh": "1"},
        "paused": False,
        "resources": {"limits": {"cpu": 8, "memory": "24Gi"}, "requests": {"cpu": "8"}},
        "shmSize": "4Gi",
        "nodeSelector": {"disk": "fast"},
        "tolerations": [
            {"key": "a", "operator": "Equal", "value": "b", "effect": "NoExecute", "tolerationSeconds": 60}
        ],
        "affinity": {
            "nodeAffinity": {
                "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [NODE_TERM]},
                "preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 1, "preference": NODE_TERM}],
            },
            "podAffinity": POD_AFFINITY,
            "podAntiAffinity": POD_AFFINITY,
        },
        "topologySpreadConstraints": [
            {
                "maxSkew": 1,
                "topologyKey": "topology.kubernetes.io/zone",
                "whenUnsatisfiable": "DoNotSchedule",
                "labelSelector": SELECTOR,
                "matchLabelKeys": ["pod-template-hash"],
                "minDomains": 2,
                "nodeAffinityPolicy": "Honor",
                "nodeTaintsPolicy": "Honor",
            }
        ],
        "priorityClassName": "high",
        "serviceAccountName": "puller",
        "podLabels": {"team": "a"},
        "podAnnotations": {"note": "a b"},
        "proxy": {
            "httpProxy": "http://proxy.example:3128",
            "httpsProxy": "http://proxy.example:3128",
            "noProxy": "localhost,.svc",
        },
    },
}
"""A VLLMServer on CPUs in which every field has a value."""

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
"""What makes FULL a server on Gaudi in which every field has a value that may have one there."""


@dataclass(frozen=True)
class Case:
    """One change and its verdict.

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


def changed(change: Change) -> Body:
    """FULL with a change."""
    body: Body = _copy(FULL)
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


def example_key(path: str) -> str:
    """The key that FULL has in the map at a path of the schema."""
    node: Any = FULL
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


def table(*groups: Iterator[Case] | Sequence[Case]) -> dict[str, Case]:
    """All cases by name; no name comes twice."""
    cases: dict[str, Case] = {}
    for case in itertools.chain(*groups):
        if case.name in cases:
            raise ValueError(f"two cases are called {case.name!r}")
        cases[case.name] = case
    return cases

"""The server of the campaigns: every field has a value, and its pods run on the fake nodes.

Wherever a field has a default, the value is another one: that a field was removed can then be seen too.
"""

import json
from collections.abc import Mapping
from typing import Any

from tests.cases.table import REMOVED

Spec = dict[str, Any]

CLASS = "campaign"
"""A storage class whose claims are bound at once and may grow."""
PRIORITIES = ("campaign-high", "campaign-low")
ACCOUNTS = ("puller", "other-puller")
RUNTIMES = ("campaign-habana", "campaign-other")
NODES = {"g2": {"kubernetes.io/hostname": "gaudi-0"}, "g3": {"kubernetes.io/os": "linux"}}
"""What the operator is told of nodes with cards."""
GIVEN = "given-weights"
"""A claim that several nodes may mount."""

_LINUX = {"key": "kubernetes.io/os", "operator": "In", "values": ["linux"]}
_NODE = {"key": "metadata.name", "operator": "In", "values": ["gaudi-0"]}
_NODE_TERM = {"matchExpressions": [_LINUX], "matchFields": [_NODE]}


def _selector(team: str) -> Spec:
    """Of pods; the pods of the base are those of team a."""
    expression = {"key": "team", "operator": "NotIn", "values": ["none"]}
    return {"matchLabels": {"team": team}, "matchExpressions": [expression]}


def _pods(team: str) -> Spec:
    term = {
        "labelSelector": _selector(team),
        "topologyKey": "kubernetes.io/os",
        "matchLabelKeys": ["pod-template-hash"],
        "mismatchLabelKeys": ["shift"],
    }
    return {
        "requiredDuringSchedulingIgnoredDuringExecution": [term],
        "preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 1, "podAffinityTerm": term}],
    }


_MODEL: Spec = {
    "name": "org/model",
    "revision": "main",
    "servedNames": ["one", "two"],
    "tokenSecretRef": {"name": "token", "key": "hub"},
    "chatTemplate": {"configMapKeyRef": {"name": "templates", "key": "chat"}},
    "trustRemoteCode": True,
    "offline": True,
    "hubEndpoint": "https://hub.example",
}

_ENGINE_ARGS: Spec = {
    "dtype": "float16",
    "maxModelLen": 4096,
    "maxNumSeqs": 16,
    "maxNumBatchedTokens": 8192,
    "blockSize": 128,
    "gpuMemoryUtilization": 0.5,
    "enablePrefixCaching": True,
    "kvCacheDtype": "auto",
    "seed": 1,
    "enforceEager": True,
}

_VARIABLES: list[Spec] = [
    {"name": "A", "value": "a"},
    {"name": "B", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k", "optional": True}}},
    {"name": "C", "valueFrom": {"configMapKeyRef": {"name": "c", "key": "k", "optional": True}}},
    {"name": "D", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
]

_PLACEMENT: Spec = {
    "nodeSelector": {"kubernetes.io/arch": "amd64"},
    "tolerations": [
        {"key": "a", "operator": "Equal", "value": "b", "effect": "NoExecute", "tolerationSeconds": 60}
    ],
    "affinity": {
        "nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [_NODE_TERM]},
            "preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 1, "preference": _NODE_TERM}],
        },
        "podAffinity": _pods("a"),
        "podAntiAffinity": _pods("b"),
    },
    "topologySpreadConstraints": [
        {
            "maxSkew": 1,
            "topologyKey": "kubernetes.io/os",
            "whenUnsatisfiable": "DoNotSchedule",
            "labelSelector": _selector("a"),
            "matchLabelKeys": ["pod-template-hash"],
            "minDomains": 1,
            "nodeAffinityPolicy": "Honor",
            "nodeTaintsPolicy": "Honor",
        }
    ],
    "priorityClassName": PRIORITIES[0],
}

BASE: Spec = {
    "model": _MODEL,
    "device": "cpu",
    "engine": {"family": "vllm", "version": "0.32"},
    "image": "registry.example/vllm:v1",
    "imagePullPolicy": "Never",
    "imagePullSecrets": [{"name": "pull"}],
    "tensorParallelSize": 2,
    "engineArgs": _ENGINE_ARGS,
    "extraArgs": ["--max-log-len", "100"],
    "extraEnv": _VARIABLES,
    "cpu": {"kvCache": "4Gi", "threadsBind": "auto", "reservedCores": 1},
    "cache": {
        "size": "10Gi",
        "storageClassName": CLASS,
        "accessModes": ["ReadWriteOnce"],
        "retention": "Delete",
        "fsGroup": 2000,
    },
    "prefetch": False,
    "replicas": 1,
    # Its metric is told by nobody, and so it changes nothing by itself.
    "autoscaling": {
        "minReplicas": 1,
        "maxReplicas": 3,
        "target": {"metric": "requests_waiting", "averageValue": "2"},
        "scaleUp": {"stabilizationWindowSeconds": 1},
        "scaleDown": {"stabilizationWindowSeconds": 2, "periodSeconds": 3},
    },
    "monitoring": {"podMonitor": {"labels": {"release": "a"}, "interval": "15s"}},
    "service": {"type": "NodePort", "port": 8010, "annotations": {"note": "b"}},
    "apiKeySecretRef": {"name": "key", "key": "callers"},
    "networkPolicy": {
        "from": [
            {"podSelector": _selector("a"), "namespaceSelector": _selector("b")},
            {"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}},
        ]
    },
    "warmup": {"timeoutSeconds": 3000},
    "rollout": {"drainSeconds": 50, "progressDeadlineSeconds": 90000, "refresh": "1"},
    "paused": False,
    "verify": True,
    "resources": {"limits": {"cpu": "2500m", "memory": "8Gi"}, "requests": {"cpu": 2, "memory": "8Gi"}},
    "shmSize": "2Gi",
    **_PLACEMENT,
    "serviceAccountName": ACCOUNTS[0],
    "podLabels": {"team": "a"},
    "podAnnotations": {"note": "a b"},
    "proxy": {
        "httpProxy": "http://proxy.example:3128",
        "httpsProxy": "http://proxy.example:3129",
        "noProxy": "localhost,.svc",
    },
}


def edited(spec: Mapping[str, Any], change: Mapping[str, Any]) -> Spec:
    """A spec with a change: dotted paths (a number is an index) and their new values, or REMOVED.

    What held nothing else goes with a field that is removed. Raises LookupError where there is no such place.
    """
    result: Spec = json.loads(json.dumps(spec))  # what is there twice is two things from now on
    for dotted, value in change.items():
        *above, last = dotted.split(".")
        nodes: list[Any] = [result]
        for part in above:
            nodes.append(nodes[-1][_key(nodes[-1], part)])
        if value is not REMOVED:
            nodes[-1][_key(nodes[-1], last)] = json.loads(json.dumps(value))
            continue
        for node, part in zip(reversed(nodes), (last, *reversed(above)), strict=True):
            del node[_key(node, part)]
            if node:
                break
    return result


def _key(node: Any, part: str) -> Any:
    return int(part) if isinstance(node, list) else part


def _sizes(first: int) -> dict[str, int]:
    return {"min": first, "step": first + 1, "max": first + 2}


GAUDI = edited(
    BASE,
    {
        "device": "gaudi",
        "engine": {"family": "vllm-gaudi", "version": "0.26"},
        "cpu": REMOVED,
        "engineArgs.dtype": "bfloat16",
        "pipelineParallelSize": 2,
        # A namespace that is restricted takes no pod with sysNice, and no fake node has huge pages.
        "gaudi": {
            "generation": "g3",
            "runtimeClassName": RUNTIMES[0],
            "sysNice": False,
            "lazyCollectives": True,
        },
        "warmup": {
            "timeoutSeconds": 3000,
            "skip": True,
            "strategy": "lin",
            "buckets": {
                "promptBatchSize": _sizes(10),
                "promptQuery": _sizes(20),
                "promptContext": _sizes(30),
                "decodeBatchSize": _sizes(40),
                "decodeBlocks": _sizes(50),
            },
            "recipeCache": {"enabled": True, "size": "4Gi"},
        },
        # The nodes of the other base are too few for cards of several servers.
        "affinity": REMOVED,
    },
)
"""The same server on Gaudi cards."""

FP8 = edited(
    GAUDI,
    {"pipelineParallelSize": REMOVED, "engineArgs.kvCacheDtype": REMOVED},
) | {"fp8": {"mode": "Dynamic"}}
"""The same server in FP8, without a calibration."""

MICROSERVICE = edited(BASE, {"service.port": 8008}) | {
    "microservice": {
        "enabled": True,
        "replicas": 2,
        "image": "registry.example/operator:v1",
        "connector": "generic",
        "port": 9100,
        "resources": {
            "limits": {"cpu": 2, "memory": "1Gi"},
            "requests": {"cpu": "500m", "memory": "512Mi"},
        },
    }
}
"""The same server with its microservice."""

BASES = {"cpu": BASE, "gaudi": GAUDI, "fp8": FP8, "microservice": MICROSERVICE}

"""Specs that cannot work, each in its own way, and what is said of them."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from tests.harness.api import Object

Fields = dict[str, Any]


@dataclass(frozen=True)
class Bad:
    """Fields that are put on top of a good spec.

    `refused` holds words of the API server, which stores nothing of it. Else the server becomes not ready
    for a reason with words in its message. `harmless` says that the Deployment is not touched. `stranger`
    is an object that is in the way meanwhile.
    """

    name: str
    fields: Fields
    refused: str = ""
    reason: str = ""
    words: str = ""
    harmless: bool = False
    stranger: Object = field(default_factory=dict)


def refused() -> Iterator[Bad]:
    """What is never stored."""
    yield Bad("device", {"device": "cuda"}, refused='Unsupported value: "cuda"')
    cards = {"device": "gaudi", "tensorParallelSize": 3}
    yield Bad("three cards", cards, refused="must be 1, 2, 4 or 8 on Gaudi")
    yield Bad("cards of no Gaudi", {"gaudi": {"sysNice": True}}, refused="only with device: gaudi")
    yield Bad("port", {"service": {"port": 0}}, refused="spec.service.port")
    yield Bad("no cache", {"cache": {"fsGroup": 1}}, refused="give exactly one of size")
    yield Bad("another class", {"cache": {"size": "1Gi"}}, refused="cannot change")
    yield Bad("owned variable", {"extraEnv": [{"name": "HOME", "value": "/"}]}, refused="sets this variable")
    yield Bad("owned flag", {"extraArgs": ["--port=1"]}, refused="the operator sets this flag")
    yield Bad("misspelt", {"replica": 2}, refused="field not declared in schema")
    yield Bad("image alone", {"image": "a/b:c"}, refused="engine is required")
    yield Bad(
        "path and revision", {"model": {"name": "/data/a", "revision": "b"}}, refused="revision belongs"
    )


def invalid_for_engine() -> Iterator[Bad]:
    """What the engine does not know."""

    def bad(name: str, fields: Fields, words: str) -> Bad:
        return Bad(name, fields, reason="InvalidForEngine", words=words, harmless=True)

    yield bad("unknown flag", {"extraArgs": ["--no-such-flag"]}, "--no-such-flag is not a flag")
    yield bad("kvCacheDtype of cards", {"engineArgs": {"kvCacheDtype": "fp8_inc"}}, "not 'fp8_inc'")
    yield bad("unknown kvCacheDtype", {"engineArgs": {"kvCacheDtype": "fp7"}}, "not 'fp7'")
    engine = {"image": "a/b:c", "engine": {"family": "vllm", "version": "9.9"}}
    yield bad("unknown engine", engine, "no profile for vllm 9.9")


def rejected() -> Iterator[Bad]:
    """What only the API server knows to be wrong, when it is given the pod template."""

    def bad(name: str, fields: Fields, words: str) -> Bad:
        return Bad(name, fields, reason="ChildRejected", words=words, harmless=True)

    requirement = {"key": "a", "operator": "Inn", "values": ["b"]}
    term = {"nodeSelectorTerms": [{"matchExpressions": [requirement]}]}
    required = "requiredDuringSchedulingIgnoredDuringExecution"
    yield bad(
        "node operator", {"affinity": {"nodeAffinity": {required: term}}}, "not a valid selector operator"
    )
    pods = {"topologyKey": "a", "labelSelector": {"matchExpressions": [requirement]}}
    yield bad("pod operator", {"affinity": {"podAffinity": {required: [pods]}}}, 'value: "Inn": not a valid')
    uid = {"key": "metadata.uid", "operator": "In", "values": ["b"]}
    by_uid = {"nodeAffinity": {required: {"nodeSelectorTerms": [{"matchFields": [uid]}]}}}
    yield bad("node field", {"affinity": by_uid}, "not a valid field selector key")
    yield bad("effect", {"tolerations": [{"key": "a", "effect": "Nope"}]}, 'Unsupported value: "Nope"')
    seconds = {"key": "a", "effect": "NoSchedule", "tolerationSeconds": 1}
    yield bad("seconds", {"tolerations": [seconds]}, "effect must be 'NoExecute'")
    spread = {"maxSkew": 0, "topologyKey": "a", "whenUnsatisfiable": "DoNotSchedule"}
    yield bad("skew", {"topologySpreadConstraints": [spread]}, "must be greater than zero")
    path = {"fieldRef": {"fieldPath": "metadata.uidx"}}
    yield bad("field path", {"extraEnv": [{"name": "A", "valueFrom": path}]}, "metadata.uidx")
    more = {"limits": {"cpu": 1}, "requests": {"cpu": 2}}
    yield bad("more than the limit", {"resources": more}, "less than or equal to cpu limit")
    yield bad("resource", {"resources": {"limits": {"foo": 1}}}, "must be a standard resource")


def refused_pods() -> Iterator[Bad]:
    """Templates that the API server takes, and whose pods it does not."""
    words = "no PriorityClass with name nobody was found"
    yield Bad("priority", {"priorityClassName": "nobody"}, reason="ChildRejected", words=words)
    words = 'serviceaccount "nobody" not found'
    yield Bad("account", {"serviceAccountName": "nobody"}, reason="ChildRejected", words=words)


def never_ready() -> Iterator[Bad]:
    """Pods that are made and never answer."""
    many = {"resources": {"limits": {"cpu": 1000}}}
    yield Bad("too many CPUs", many, reason="Unschedulable", words="Insufficient cpu")
    nowhere = {"nodeSelector": {"nowhere": "a"}}
    yield Bad("no such node", nowhere, reason="Unschedulable", words="node affinity/selector")
    claim = {"cache": {"claimName": "nowhere"}}
    yield Bad("no such claim", claim, reason="CacheUnbound", words="Claim nowhere does not exist")
    lives = ("image-pull", "ImagePullFailed"), ("crash", "CrashLooping"), ("oom", "OutOfMemory")
    for life, reason in (*lives, ("never-ready", "WarmingUp")):
        yield Bad(life, {"extraEnv": [_life(life)]}, reason=reason)
    secret = {"name": "A", "valueFrom": {"secretKeyRef": {"name": "nobody", "key": "b"}}}
    for life, words in (("no-secret", 'secret "nobody" not found'), ("no-key", "couldn't find key b")):
        yield Bad(life, {"extraEnv": [secret, _life(life)]}, reason="SecretNotFound", words=words)
    settings = {"name": "A", "valueFrom": {"configMapKeyRef": {"name": "nobody", "key": "b"}}}
    words = 'configmap "nobody" not found'
    missing = {"extraEnv": [settings, _life("no-config")]}
    yield Bad("no-config", missing, reason="ContainerNotCreated", words=words)


def _life(life: str) -> Fields:
    return {"name": "TEST_LIFE", "value": life}


def held() -> Iterator[Bad]:
    """What is not made because of others."""
    paused = {"paused": True, "engineArgs": {"seed": 9}, "service": {"port": 1}}
    yield Bad("paused", paused, reason="Paused", words="To make or change: ControllerRevision", harmless=True)
    budget = {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": "chat"},
        "spec": {"maxUnavailable": 1, "selector": {"matchLabels": {"a": "b"}}},
    }
    words = "PodDisruptionBudget chat exists"
    yield Bad("stranger", {"replicas": 2}, reason="NotOwned", words=words, harmless=True, stranger=budget)


def bads() -> list[Bad]:
    """All of them."""
    return [*refused(), *invalid_for_engine(), *rejected(), *refused_pods(), *never_ready(), *held()]

"""How a case of the table is written: a change to a full, valid VLLMServer, and the verdict on it."""

import copy
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Body = dict[str, Any]


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
"""A VLLMServer in which every field has a value."""


LARGEST = "must be at most 1Ei"
"""The beginning of the message of the rule that every quantity has."""


@dataclass(frozen=True)
class Case:
    """One change and its verdict.

    `path` is the field that a refusal names, and `says` a part of the message. `rule` is the beginning of
    a Rule's message: the case accepts or refuses for that rule's sake. `covers` names constraints of the
    CRD's schema as (path, keyword). `old` is the change that made the object that was stored before: what
    an update alone decides, the models cannot judge.
    """

    name: str
    change: Mapping[str, Any]
    accepted: bool
    path: str = ""
    says: str = ""
    rule: str = ""
    covers: tuple[tuple[str, str], ...] = ()
    old: Mapping[str, Any] | None = None
    root: bool = field(default=False)
    """The rule stands at the root of the CRD, where the API server names no path."""


def changed(change: Mapping[str, Any]) -> Body:
    """FULL with a change: dotted paths (a number is an index) and their new values."""
    body = copy.deepcopy(FULL)
    for dotted, value in change.items():
        *parents, last = dotted.split(".")
        node: Any = body
        for part in parents:
            node = node[int(part)] if isinstance(node, list) else node.setdefault(part, {})
        key: Any = int(last) if isinstance(node, list) else last
        if value is REMOVED:
            del node[key]
        else:
            node[key] = value
    return body


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


def bounds(
    path: str, least: float, most: float, step: float = 1, *, open_below: bool = False
) -> Iterator[Case]:
    """The least and the greatest number, and those just outside."""
    where = schema_path(path)
    low = least + step if open_below else least
    below = ("minimum", "exclusiveMinimum") if open_below else ("minimum",)
    yield accept(f"{path}={low}", {path: low})
    yield accept(f"{path}={most}", {path: most})
    yield refuse(f"{path} too small", {path: low - step}, path, covers=[(where, b) for b in below])
    yield refuse(f"{path} too large", {path: most + step}, path, covers=[(where, "maximum")])
    yield refuse(f"{path} is a word", {path: str(low)}, path, covers=[(where, "type")])
    yield refuse(f"{path} is a truth value", {path: True}, path)


def choices(path: str, *words: str) -> Iterator[Case]:
    """Every choice, and others."""
    for word in words:
        yield accept(f"{path}={word}", {path: word})
    for number, other in enumerate((f"{words[0]}x", words[0].swapcase(), "")):
        covers = [(schema_path(path), "enum")]
        yield refuse(f"{path}: other choice {number}", {path: other}, path, covers=covers)
    yield refuse(f"{path} is a number", {path: 1}, path, covers=[(schema_path(path), "type")])


def words(
    path: str,
    *,
    longest: int,
    good: Sequence[str] = (),
    bad: Sequence[str] = (),
    empty: bool = False,
    fill: str = "a",
) -> Iterator[Case]:
    """Texts that fit a pattern and texts that do not, the longest and one more, the empty one, a number."""
    where = schema_path(path)
    for number, text in enumerate(good):
        yield accept(f"{path}: good text {number} {text!a:.40}", {path: text})
    for number, text in enumerate(bad):
        name = f"{path}: bad text {number} {text!a:.40}"
        yield refuse(name, {path: text}, path, covers=[(where, "pattern")])
    yield accept(f"{path}: the longest", {path: (fill * longest)[:longest]})
    too_long = (fill * (longest + 1))[: longest + 1]
    yield refuse(f"{path}: too long", {path: too_long}, path, covers=[(where, "maxLength")])
    if empty:
        yield accept(f"{path}: empty", {path: ""})
    else:
        yield refuse(f"{path}: empty", {path: ""}, path, covers=[(where, "minLength")])
    yield refuse(f"{path}: a number", {path: 1}, path, covers=[(where, "type")])


def lists(path: str, item: Any, most: int, *, empty: bool = True) -> Iterator[Case]:
    """The longest list and one more; `item` makes an item of a number."""
    where = schema_path(path)
    yield accept(f"{path}: the most", {path: [item(n) for n in range(most)]})
    too_many = [item(n) for n in range(most + 1)]
    yield refuse(f"{path}: too many", {path: too_many}, path, covers=[(where, "maxItems")])
    if empty:
        yield accept(f"{path}: none", {path: []})
    else:
        yield refuse(f"{path}: none", {path: []}, path, covers=[(where, "minItems")])
    yield refuse(f"{path}: not a list", {path: "x"}, path, covers=[(where, "type")])
    yield refuse(f"{path}: holds null", {path: [None]}, f"{path}.0")


def quantities(path: str, *, zero: bool) -> Iterator[Case]:
    """Quantities that are good and bad wherever they stand."""
    for good in (
        *("1Gi", "1.5", ".5Gi", "5.", 1, "1e3", "1E3", "2e-3", "100m", "1n", "1u", "1e+10"),
        *("0" * 31 + "9", "1E", "0.9Ei", "9e17"),
    ):
        yield accept(f"{path}={good!r:.45}", {path: good})
    for good in ("1Ei", "1024Pi", "1152921504606846976"):
        yield accept(f"{path}={good}", {path: good}, rule=LARGEST)
    for large in ("1152921504606846977", "1025Pi", "2E", "7Ei", "8Ei", "99Ei", "10E", "1e19", "9" * 32):
        yield refuse(f"{path}={large}", {path: large}, path, rule=LARGEST)
    bad = (
        *(-1, "-1", "-1Gi", "+1", "1 Gi", " 1", "1\n", "1gi", "1K", "1e100", "Gi", ".", "", "0x10", "1.2.3"),
        *("\u0661Gi", "9" * 33),
    )
    for text in bad:
        where = schema_path(path)
        covers = [(where, k) for k in ("pattern", "maxLength", "minimum")]
        yield refuse(f"{path}={text!a:.45}", {path: text}, path, covers=covers)
    for number, thing in enumerate((1.5, True, ["1Gi"], {"a": 1})):
        yield refuse(
            f"{path}: no quantity {number}", {path: thing}, path, covers=[(schema_path(path), "type")]
        )
    for nothing in ("0", 0, "0Gi", "0.0"):
        if zero:
            yield accept(f"{path}={nothing!r}", {path: nothing})


def truths(path: str) -> Iterator[Case]:
    """Truth values and what YAML users take for them."""
    yield accept(f"{path}=true", {path: True})
    yield accept(f"{path}=false", {path: False})
    for wrong in ("true", 1, "yes"):
        yield refuse(f"{path}={wrong!r}", {path: wrong}, path, covers=[(schema_path(path), "type")])


def required(*paths: str) -> Iterator[Case]:
    """Fields that must be there; null counts as absent."""
    for path in paths:
        for how, value in (("absent", REMOVED), ("null", None)):
            covers = [(schema_path(path), "required")]
            yield refuse(f"{path} {how}", {path: value}, path, covers=covers)


def optional(*paths: str) -> Iterator[Case]:
    """Fields that may be absent or null."""
    for path in paths:
        for how, value in (("absent", REMOVED), ("null", None)):
            yield accept(f"{path} {how}", {path: value})


def accept(name: str, change: Mapping[str, Any], *, rule: str = "") -> Case:
    """A change that is taken."""
    return Case(name, change, accepted=True, rule=rule)


def refuse(
    name: str,
    change: Mapping[str, Any],
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

"""Specs at random from a CRD's schema, most of them sensible and some not."""

import json
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

from tests.cases.full import Body
from tests.cases.random_parts import (
    AFFINITY,
    KEYS,
    PEERS,
    QUANTITIES,
    SPREADS,
    TEXTS,
    TOLERATIONS,
    VALUES,
    Drawn,
)
from tests.cases.schemas import SPECS, Schema
from vllm_operator.api.resource import NAME_PATTERN

WORDS = {
    "spec.model.name": ("org/model", "gpt2", "/data/a", "/data/models/{{ a }}", "/data/a/../b"),
    "spec.engine.version": ("0.32", "0.32", "0.32.1", "0.33"),
    "spec.engineArgs.kvCacheDtype": ("auto", "auto", "fp8", "fp8_inc"),
    "spec.extraArgs[]": (
        "--max-logprobs",
        "5",
        "word",
        "",
        "$(A)",
        "--max_log_len=9",
        "{}",
        "--nope",
        "--port",
    ),
    "spec.extraEnv[].valueFrom.fieldRef.fieldPath": (
        *("status.podIP", "metadata.labels['a']", "metadata.name", "spec.nodeName", "metadata.nope"),
    ),
    "spec.extraEnv[].name": ("A", "b", "_", "HTTP_PROXY", "no_proxy", "A1", "HF_TOKEN"),
    "spec.autoscaling.target.metric": ("vllm:num_requests_waiting", "vllm_num_requests_waiting", "a/b"),
    "spec.monitoring.podMonitor.interval": ("30s", "1m", "1h30m", "0", "1.5s"),
    "spec.priorityClassName": ("system-cluster-critical", "system-node-critical", "no-such-class"),
    "spec.tasks[]": ("gsm8k", "mmlu", "a.b-c", "-x"),
    "spec.existing.path": ("/data/inc/model", "/data/{{ a }}", "/data/a/../b", "/etc/a"),
    "spec.dataset.persistentVolumeClaim.path": ("a.pkl", "a/b.pkl", "$(A)", "../a", "/a"),
    "spec.dataset.url.url": ("https://data.example/a.pkl?b=c", "http://a", "https://u:p@a/b"),
    "spec.dataset.url.sha256": ("0123456789abcdef" * 4, "a" * 63),
    "spec.dataset.huggingFace.name": ("org/samples", "squad", "a/b/c"),
    "spec.proxy.httpProxy": ("http://proxy.example:3128", "https://[::1]:3128", "http://u:p@proxy"),
}
"""Texts of fields of either kind, beside those that their pattern makes."""

_STORABLE = st.characters(codec="utf-8")
_TIDY: dict[str, Drawn] = {
    "spec.affinity": AFFINITY,
    "spec.networkPolicy.from": PEERS,
    "spec.tolerations": TOLERATIONS,
    "spec.topologySpreadConstraints": SPREADS,
    "spec.nodeSelector": st.dictionaries(KEYS, VALUES, max_size=2),
    "spec.podLabels": st.dictionaries(KEYS, VALUES, max_size=2),
    "spec.monitoring.podMonitor.labels": st.dictionaries(KEYS, VALUES, max_size=2),
    "spec.podAnnotations": st.dictionaries(KEYS, TEXTS, max_size=2),
    "spec.service.annotations": st.dictionaries(KEYS, TEXTS, max_size=2),
    **{
        f"spec.resources.{side}": st.dictionaries(
            st.sampled_from(["cpu", "memory", "ephemeral-storage", "example.com/card"]),
            QUANTITIES,
            max_size=3,
        )
        for side in ("limits", "requests")
    },
}


def _node(schema: Schema, path: str) -> Drawn:
    drawn = _by_schema(schema, path)
    if path in _TIDY:
        return st.one_of(*[_TIDY[path]] * 5, drawn)
    return st.one_of(*[st.sampled_from(WORDS[path])] * 3, drawn) if path in WORDS else drawn


def _by_schema(schema: Schema, path: str) -> Drawn:
    if "x-kubernetes-int-or-string" in schema:
        return QUANTITIES
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    if "properties" in schema:
        fields = {name: _node(child, f"{path}.{name}") for name, child in schema["properties"].items()}
        required = {name: fields.pop(name) for name in schema.get("required", ())}
        return st.fixed_dictionaries(required, optional=fields)
    if "additionalProperties" in schema:
        return st.dictionaries(KEYS | TEXTS, _node(schema["additionalProperties"], f"{path}.*"), max_size=2)
    if schema["type"] == "array":
        items = _node(schema["items"], f"{path}[]")
        keys = schema.get("x-kubernetes-list-map-keys")
        unique = (lambda item: item[keys[0]]) if keys else str
        return st.lists(items, min_size=schema.get("minItems", 0), max_size=3, unique_by=unique)
    return _scalar(schema)


def _scalar(schema: Schema) -> Drawn:
    if schema["type"] == "boolean":
        return st.booleans()
    if schema["type"] == "integer":
        least, most = schema["minimum"], schema["maximum"]
        return st.integers(least, min(most, least + 9)) | st.integers(least, most)
    if schema["type"] == "number":
        # Not a whole number with a point: the models are stricter there, and say so in a test of their own.
        return st.floats(schema["minimum"], schema["maximum"], exclude_max=True)
    if "pattern" in schema:
        pattern = re.compile(schema["pattern"], re.ASCII)
        drawn = st.from_regex(pattern, fullmatch=True, alphabet=_STORABLE)
        return drawn.filter(lambda text: len(text) <= schema["maxLength"])
    return TEXTS


NAMES = st.sampled_from(["chat", "a", "a" * 40, "x-llms"]) | st.from_regex(
    re.compile(NAME_PATTERN, re.ASCII), fullmatch=True
)


Mend = Callable[[DrawFn, Body], None]
"""Does away with what rules over several fields would refuse almost always."""


def mend_parts(draw: DrawFn, spec: Body) -> None:
    """What both kinds have."""
    if spec["model"]["name"].startswith("/"):
        spec["model"].pop("revision", None)
    for variable in spec.get("extraEnv", ()):
        if "value" in variable:
            variable.pop("valueFrom", None)
        elif "valueFrom" in variable:
            source = variable["valueFrom"]
            for extra in list(source)[1:]:
                del source[extra]
    resources = spec.get("resources", {})
    if "limits" in resources and draw(st.booleans()):
        resources["requests"] = {
            key: resources["limits"][key]
            for key in resources.get("requests", ())
            if key in resources["limits"]
        }


_MOSTLY = st.sampled_from([True] * 5 + [False])

ODD: tuple[Any, ...] = (
    *(None, True, "", "x", "a\n", "x" * 5000, "\x00", -1, 0, 1.5, 2**31, 2**53, 2**64, "-1", "8Ei"),
    *([], {}, [None], {"a": None}, {"a": 1}, ["a", "a"]),
)
"""Values that fit few places."""


def _places(node: Any) -> Iterator[tuple[Any, Any]]:
    """Every value below a node, as the thing that holds it and its key there."""
    for key, value in list(node.items() if isinstance(node, dict) else enumerate(node)):
        yield node, key
        if isinstance(value, dict | list):
            yield from _places(value)


def _break(draw: DrawFn, spec: Body) -> None:
    """Put an odd value somewhere."""
    node, key = draw(st.sampled_from(list(_places(spec))))
    node[key] = draw(st.sampled_from(ODD))


class Kind:
    """Makes objects of one kind."""

    def __init__(self, kind: str, mend: Mend, always: Sequence[str] = ()) -> None:
        schema = SPECS[kind]
        self._kind, self._mend = kind, mend
        self._fields = {name: _node(child, f"spec.{name}") for name, child in schema["properties"].items()}
        self._always = [*schema["required"], *always]
        self._optional = st.sampled_from([name for name in self._fields if name not in self._always])

    def draw(self, draw: DrawFn) -> Body:
        """One object as an author may write it."""
        spec: Body = {}
        # With all of them Hypothesis would run out of entropy, and give the example up.
        chosen = draw(st.lists(self._optional, min_size=2, max_size=9, unique=True))
        for name in [*self._always, *chosen]:
            spec[name] = json.loads(json.dumps(draw(self._fields[name])))  # drawn is shared, and here changed
        if draw(_MOSTLY):
            mend_parts(draw, spec)
            self._mend(draw, spec)
        if not draw(_MOSTLY):
            _break(draw, spec)
        api = {"apiVersion": "vllm-operator.dev/v1alpha1", "kind": self._kind}
        return {**api, "metadata": {"name": draw(NAMES)}, "spec": spec}

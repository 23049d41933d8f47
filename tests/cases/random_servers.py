"""VLLMServers at random: from the CRD's schema, most of them sensible and some not."""

import json
import re
from collections.abc import Iterator
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

from tests.cases.embedded import SPEC, Schema
from tests.cases.random_parts import AFFINITY, KEYS, QUANTITIES, SPREADS, TEXTS, TOLERATIONS, VALUES, Drawn
from tests.cases.table import Body
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
    "spec.priorityClassName": ("system-cluster-critical", "system-node-critical", "no-such-class"),
    "spec.proxy.httpProxy": ("http://proxy.example:3128", "https://[::1]:3128", "http://u:p@proxy"),
}
"""Texts of fields, beside those that their pattern makes."""

_STORABLE = st.characters(codec="utf-8")
_TIDY: dict[str, Drawn] = {
    "spec.affinity": AFFINITY,
    "spec.tolerations": TOLERATIONS,
    "spec.topologySpreadConstraints": SPREADS,
    "spec.nodeSelector": st.dictionaries(KEYS, VALUES, max_size=2),
    "spec.podLabels": st.dictionaries(KEYS, VALUES, max_size=2),
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


def _cached(draw: DrawFn, cache: Body) -> Body:
    """A cache that is either made or given."""
    if draw(st.booleans()):
        return {"claimName": cache.get("claimName", "weights")} | {
            key: value for key, value in cache.items() if key == "fsGroup"
        }
    return {"size": "50Gi"} | {key: value for key, value in cache.items() if key != "claimName"}


def _mend(draw: DrawFn, spec: Body) -> None:
    """Do away with what rules over several fields would refuse almost always."""
    spec["cache"] = _cached(draw, spec["cache"])
    if spec["model"]["name"].startswith("/"):
        spec["model"].pop("revision", None)
    if "image" in spec:
        spec.setdefault("engine", {"family": "vllm", "version": "0.32"})
    if "rollout" in spec and draw(st.booleans()):
        spec["rollout"].pop("progressDeadlineSeconds", None)
    if spec.get("cpu", {}).get("threadsBind", "auto") != "auto":
        spec["cpu"].pop("reservedCores", None)
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


_FIELDS = {name: _node(schema, f"spec.{name}") for name, schema in SPEC["properties"].items()}
_OPTIONAL = st.sampled_from([name for name in _FIELDS if name not in SPEC["required"]])


@st.composite
def servers(draw: DrawFn) -> Body:
    """A VLLMServer as an author may write it."""
    spec: Body = {}
    # With all of them Hypothesis would run out of entropy, and give the example up.
    for name in [*SPEC["required"], *draw(st.lists(_OPTIONAL, min_size=2, max_size=9, unique=True))]:
        spec[name] = json.loads(json.dumps(draw(_FIELDS[name])))  # what is drawn is shared, and here changed
    if draw(_MOSTLY):
        _mend(draw, spec)
    if not draw(_MOSTLY):
        _break(draw, spec)
    api = {"apiVersion": "vllm-operator.dev/v1alpha1", "kind": "VLLMServer"}
    return {**api, "metadata": {"name": draw(NAMES)}, "spec": spec}

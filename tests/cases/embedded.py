"""Cases of Kubernetes' own types in a resource: every node of their schema, beside what FULL has there."""

from collections.abc import Iterator
from typing import Any

from tests.cases.builders import bounds, lists, maps, optional, required, things, words
from tests.cases.full import FULL
from tests.cases.schemas import SPECS, Schema
from tests.cases.table import SERVER, Case


def embedded(field: str) -> Iterator[Case]:
    """All cases of one field of a spec; it is the same in both kinds."""
    yield from optional(f"spec.{field}")
    yield from _node(f"spec.{field}", SPECS[SERVER]["properties"][field], FULL["spec"][field])


def _node(path: str, schema: Schema, value: Any) -> Iterator[Case]:
    if schema["type"] == "object" and "properties" in schema:
        yield from _object(path, schema, value)
    elif schema["type"] == "object":
        yield from maps(path, schema["maxProperties"])
        key = next(iter(value))
        yield from _node(f"{path}.{key}", schema["additionalProperties"], value[key])
    elif schema["type"] == "array":
        # The first key of a list-map; any other field of an item may repeat.
        key, *_ = schema.get("x-kubernetes-list-map-keys", ("",))
        yield from lists(
            path,
            lambda n: value[0] | {key: f"k{n}"} if key else value[0],
            schema["maxItems"],
            empty="minItems" not in schema,
        )
        yield from _node(f"{path}.0", schema["items"], value[0])
    elif schema["type"] == "integer":
        yield from bounds(path, schema["minimum"], schema["maximum"])
    else:
        yield from words(path, longest=schema["maxLength"], empty=True)


def _object(path: str, schema: Schema, value: Any) -> Iterator[Case]:
    yield from things(path)
    for name, child in schema["properties"].items():
        presence = required if name in schema.get("required", ()) else optional
        yield from presence(f"{path}.{name}")
        yield from _node(f"{path}.{name}", child, value[name])

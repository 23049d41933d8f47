"""Kubernetes' own types in our resources, with their real structure.

`kubernetes.json` holds the definitions of the published OpenAPI document that we embed (tools/pin_openapi.py
writes it). They become models like our own, so CRD, parsing and error paths come out alike. What only the
pod's own validation knows (which operators there are, what a label may look like) the API server says when
the pod template is applied.
"""

import json
from functools import cache
from importlib.resources import files
from types import GenericAlias
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, GetCoreSchemaHandler, create_model
from pydantic.alias_generators import to_snake
from pydantic_core import CoreSchema

from vllm_operator.api.meta import Model, list_atomic, without_nulls

MAX_TEXT = 512
MAX_ITEMS = 64

Json = dict[str, Any]


class Embedded:
    """Makes `Annotated[Model, Embedded("Affinity")]` a model with the structure of Kubernetes' Affinity."""

    def __init__(self, definition: str) -> None:
        self._definition = definition

    def __get_pydantic_core_schema__(self, _: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Tell pydantic what stands behind the annotation."""
        return handler.generate_schema(_model(self._definition))


@cache
def _definitions() -> Json:
    pinned = json.loads((files("vllm_operator.api") / "kubernetes.json").read_text())
    definitions: Json = pinned["definitions"]
    return definitions


@cache
def _model(name: str) -> type[Model]:
    definition = _definitions()[name]
    required = definition.get("required", ())
    fields: Json = {}
    for field, schema in definition["properties"].items():
        kind = _type(schema)
        # to_snake, because the base model writes every name in camelCase again.
        fields[to_snake(field)] = (kind, ...) if field in required else (_optional(kind, schema), None)
    return create_model(name, __base__=Model, **fields)


_SIMPLE: Json = {
    "string": Annotated[str, Field(max_length=MAX_TEXT)],
    "boolean": bool,
    "int32": Annotated[int, Field(ge=-(2**31), le=2**31 - 1)],
    # A bound beyond what a float64 holds exactly makes the API server refuse every object
    # (k8s.io/kube-openapi, pkg/validation/validate/values.go, IsFloat64AJSONInteger).
    "int64": Annotated[int, Field(ge=1 - 2**53, le=2**53 - 1)],
}


def _type(schema: Json) -> Any:
    if "$ref" in schema:
        return _model(schema["$ref"])
    if schema["type"] == "array":
        items = GenericAlias(list, _type(schema["items"]))
        return Annotated[items, Field(max_length=MAX_ITEMS), *list_atomic()]
    if schema["type"] == "object":
        kind = GenericAlias(dict, (str, _type(schema["additionalProperties"])))
        return Annotated[kind, Field(max_length=MAX_ITEMS), BeforeValidator(without_nulls)]
    return _SIMPLE[schema.get("format") or schema["type"]]


def _optional(kind: Any, schema: Json) -> Any:
    if schema.get("type") in ("array", "object"):
        # The API server does not store an empty list or map, and what we render must compare equal.
        return Annotated[kind | None, AfterValidator(lambda value: value or None)]
    return kind | None

"""From the models to a CustomResourceDefinition that the API server takes.

Pydantic writes JSON Schema; the API server takes a subset, the structural schemas. The difference is
closed here: references are inlined, titles and `null` go, exclusive bounds become the booleans of
OpenAPI v3.0, and the rules of a model become `x-kubernetes-validations`.
"""

from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from vllm_operator.api import fp8quantization, vllmserver
from vllm_operator.api.meta import GROUP, VALIDATIONS, VERSION, Model, as_validation
from vllm_operator.api.resource import NAME_RULES
from vllm_operator.api.status import FP8QuantizationStatus, VLLMServerStatus

Json = dict[str, Any]


class _Structural(GenerateJsonSchema):
    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        json = super().default_schema(schema)
        # A default is stored with the object and so can never change: only scalars, never whole objects.
        if not isinstance(json.get("default"), str | int | float):
            json.pop("default", None)
        return json

    def literal_schema(self, schema: core_schema.LiteralSchema) -> JsonSchemaValue:
        return {"type": "string", "enum": list(schema["expected"])}

    def model_schema(self, schema: core_schema.ModelSchema) -> JsonSchemaValue:
        json = super().model_schema(schema)
        rules = getattr(schema["cls"], "rules", ())
        if rules:
            json[VALIDATIONS] = [as_validation(rule) for rule in rules]
        return json


def structural(model: type[BaseModel]) -> Json:
    """The structural schema of a model, without references, titles or nulls."""
    schema = model.model_json_schema(by_alias=True, schema_generator=_Structural, mode="validation")
    definitions = schema.pop("$defs", {})
    result = _plain(schema, definitions)
    assert isinstance(result, dict)  # noqa: S101 - a model's schema is an object
    return result


_NOT_STRUCTURAL = ("title", "additionalProperties", "$ref", "exclusiveMinimum", "exclusiveMaximum")


def _plain(node: Any, definitions: Json) -> Any:
    if isinstance(node, list):
        return [_plain(item, definitions) for item in node]
    if not isinstance(node, dict):
        return node
    if "$ref" in node:
        node = {
            **definitions[node["$ref"].rsplit("/", 1)[1]],
            **{k: v for k, v in node.items() if k != "$ref"},
        }
    result = {key: _plain(value, definitions) for key, value in node.items() if key not in _NOT_STRUCTURAL}
    if "properties" in node:
        result["properties"] = {
            name: _plain(child, definitions) for name, child in node["properties"].items()
        }
    if isinstance(node.get("additionalProperties"), dict):
        result["additionalProperties"] = _plain(node["additionalProperties"], definitions)
    for bound in ("Minimum", "Maximum"):
        if f"exclusive{bound}" in node:
            result |= {bound.lower(): node[f"exclusive{bound}"], f"exclusive{bound}": True}
    if isinstance(result.get("description"), str):
        result["description"] = " ".join(result["description"].split())
    return result


def _column(name: str, path: str, kind: str = "string", *, wide: bool = False) -> Json:
    column: Json = {"name": name, "type": kind, "jsonPath": path}
    return {**column, "priority": 1} if wide else column


_READY = ".status.conditions[?(@.type=='Ready')]"

_SERVER_COLUMNS = [
    _column("Model", ".spec.model.name"),
    _column("Device", ".spec.device"),
    _column("Precision", ".status.precision"),
    _column("Ready", f"{_READY}.status"),
    _column("Replicas", ".status.readyReplicas", "integer"),
    _column("URL", ".status.url"),
    _column("Age", ".metadata.creationTimestamp", "date"),
    _column("Reason", f"{_READY}.reason", wide=True),
    _column("Image", ".status.image", wide=True),
    _column("Microservice", ".status.conditions[?(@.type=='MicroserviceReady')].status", wide=True),
    _column("Warm-up", ".status.warmup.phase", wide=True),
    _column("Done", ".status.warmup.done", "integer", wide=True),
    _column("Of", ".status.warmup.total", "integer", wide=True),
]

_QUANTIZATION_COLUMNS = [
    _column("Model", ".spec.model.name"),
    _column("TP", ".spec.tensorParallelSize", "integer"),
    _column("Generation", ".status.generation"),
    _column("Progress", ".status.progress.message"),
    _column("Ready", f"{_READY}.status"),
    _column("Age", ".metadata.creationTimestamp", "date"),
    _column("Reason", f"{_READY}.reason", wide=True),
    _column("Image", ".status.image", wide=True),
    _column("Fingerprint", ".status.fingerprint", wide=True),
]


def crds() -> list[Json]:
    """Every CustomResourceDefinition of the operator."""
    scale = {
        "specReplicasPath": ".spec.replicas",
        "statusReplicasPath": ".status.replicas",
        "labelSelectorPath": ".status.selector",
    }
    return [
        _crd(
            kind=vllmserver.KIND,
            plural=vllmserver.PLURAL,
            short="vllm",
            spec=vllmserver.VLLMServerSpec,
            status=VLLMServerStatus,
            description=vllmserver.__doc__ or "",
            columns=_SERVER_COLUMNS,
            subresources={"status": {}, "scale": scale},
        ),
        _crd(
            kind=fp8quantization.KIND,
            plural=fp8quantization.PLURAL,
            short="fp8q",
            spec=fp8quantization.FP8QuantizationSpec,
            status=FP8QuantizationStatus,
            description=fp8quantization.__doc__ or "",
            columns=_QUANTIZATION_COLUMNS,
            subresources={"status": {}},
        ),
    ]


def _crd(
    *,
    kind: str,
    plural: str,
    short: str,
    spec: type[Model],
    status: type[Model],
    description: str,
    columns: list[Json],
    subresources: Json,
) -> Json:
    schema = _root(spec, status, description)
    version = {
        "name": VERSION,
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": schema},
        "subresources": subresources,
        "additionalPrinterColumns": columns,
    }
    names = {
        "kind": kind,
        "listKind": f"{kind}List",
        "plural": plural,
        "singular": kind.lower(),
        "shortNames": [short],
        "categories": ["all", "vllm-operator"],
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{GROUP}"},
        "spec": {"group": GROUP, "names": names, "scope": "Namespaced", "versions": [version]},
    }


def _root(spec: type[Model], status: type[Model], description: str) -> Json:
    """The schema of a whole object."""
    # kstatus and Flux take an object without any status for ready; this default says that nobody looked yet.
    unseen = {"default": {"observedGeneration": -1}}
    return {
        "type": "object",
        "description": description,
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object"},
            "spec": structural(spec),
            "status": structural(status) | unseen,
        },
        VALIDATIONS: [as_validation(rule) for rule in NAME_RULES],
    }

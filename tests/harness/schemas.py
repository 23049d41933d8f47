"""JSON schemas of all kinds that an API server knows, from its own OpenAPI v3 documents, for kubeconform."""

import json
from pathlib import Path
from typing import Any

from tests.harness.api import Api

LOCATION = "{{ .ResourceKind }}{{ .KindSuffix }}.json"
"""Name of a kind's file, in kubeconform's words."""

_GVK = "x-kubernetes-group-version-kind"


def write_schemas(api: Api, folder: Path) -> str:
    """Write a file for each kind and return where kubeconform finds them."""
    for document in api.request("GET", "/openapi/v3")["paths"].values():
        schemas = api.request("GET", document["serverRelativeURL"]).get("components", {}).get("schemas", {})
        closed = {name: _closed(schema) for name, schema in schemas.items()}
        for name, schema in schemas.items():
            for kind in schema.get(_GVK, ()):
                # A kind's file holds all that it refers to: the rest of its document.
                whole = {"$ref": f"#/components/schemas/{name}", "components": {"schemas": closed}}
                # The first part of the group, if it has one, and the version.
                parts = [kind["kind"].lower(), *filter(None, [kind["group"].split(".")[0]]), kind["version"]]
                (folder / f"{'-'.join(parts)}.json").write_text(json.dumps(whole))
    return f"{folder}/{LOCATION}"


def _closed(node: Any) -> Any:
    """A schema that takes no field beside those that it names."""
    if isinstance(node, list):
        return [_closed(item) for item in node]
    if not isinstance(node, dict):
        return node
    result = {key: _closed(value) for key, value in node.items()}
    properties = node.get("properties")
    is_closed = node.get("type") == "object" and not node.get("x-kubernetes-preserve-unknown-fields")
    if is_closed and isinstance(properties, dict) and properties:
        result.setdefault("additionalProperties", False)
    return result

"""The schema of each kind, as it is installed."""

from collections.abc import Iterator
from typing import Any

from vllm_operator.api.schema import crds

Schema = dict[str, Any]

SCHEMAS: dict[str, Schema] = {
    crd["spec"]["names"]["kind"]: crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"] for crd in crds()
}
"""Of a whole object, by its kind."""
SPECS: dict[str, Schema] = {kind: schema["properties"]["spec"] for kind, schema in SCHEMAS.items()}
"""Of the spec alone."""


def places(node: Schema, path: str = "spec", optional: bool = False) -> Iterator[tuple[str, bool, bool]]:
    """Every place of a schema, whether it is a leaf, and whether it or what holds it may be left out."""
    below = [
        (child, f"{path}.{name}", optional or name not in node.get("required", ()))
        for name, child in node.get("properties", {}).items()
    ]
    if "items" in node:
        below.append((node["items"], f"{path}[]", optional))
    if "additionalProperties" in node:
        below.append((node["additionalProperties"], f"{path}.*", True))
    yield path, not below, optional
    for child, where, may_go in below:
        yield from places(child, where, may_go)

"""The schema of each kind, as it is installed."""

from typing import Any

from vllm_operator.api.schema import crds

Schema = dict[str, Any]

SCHEMAS: dict[str, Schema] = {
    crd["spec"]["names"]["kind"]: crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"] for crd in crds()
}
"""Of a whole object, by its kind."""
SPECS: dict[str, Schema] = {kind: schema["properties"]["spec"] for kind, schema in SCHEMAS.items()}
"""Of the spec alone."""

"""Metadata of children."""

from collections.abc import Mapping
from typing import Any

from vllm_operator.api.meta import API_VERSION
from vllm_operator.api.vllmserver import KIND, VLLMServer
from vllm_operator.desired import names


def metadata(
    server: VLLMServer,
    name: str,
    *,
    component: str = "server",
    owned: bool = True,
    annotations: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Metadata of a server's child."""
    result: dict[str, Any] = {
        "name": name,
        "namespace": server.namespace,
        "labels": names.labels(server.name, component),
    }
    if annotations:
        result["annotations"] = annotations
    if owned:
        owner = {"apiVersion": API_VERSION, "kind": KIND, "name": server.name, "uid": server.uid}
        # No blockOwnerDeletion: it needs rights on finalizers.
        result["ownerReferences"] = [{**owner, "controller": True}]
    return result

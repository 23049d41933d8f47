"""Metadata of children."""

from collections.abc import Mapping
from typing import Any

from vllm_operator.api.kinds import Ours
from vllm_operator.api.meta import API_VERSION
from vllm_operator.desired import names


def metadata(
    resource: Ours,
    name: str,
    *,
    component: str = "server",
    owned: bool = True,
    annotations: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Metadata of a child of a resource."""
    result: dict[str, Any] = {
        "name": name,
        "namespace": resource.namespace,
        "labels": names.labels(resource, component),
    }
    if annotations:
        result["annotations"] = annotations
    if not owned:
        # Argo CD, tracking by label, takes what has this label and no owner for a part of the Application
        # of that name, and prunes what is not in Git (argo-cd v3.6.1, controller/cache/cache.go: isRoot).
        del result["labels"][names.INSTANCE]
    else:
        owner = {"apiVersion": API_VERSION, "kind": resource.kind, "name": resource.name, "uid": resource.uid}
        # No blockOwnerDeletion: it needs rights on finalizers.
        result["ownerReferences"] = [{**owner, "controller": True}]
    return result

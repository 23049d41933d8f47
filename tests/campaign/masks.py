"""Whole children, without what no two of them could share: identities, times, and what others decide."""

import json
from typing import Any

from tests.campaign.view import NAME
from tests.cluster.support import MANAGER, SERVER_LABEL
from tests.harness.api import Api, Object

Children = dict[tuple[str, str], Object]

KINDS = (
    *("ControllerRevision", "Deployment", "PersistentVolumeClaim", "PodDisruptionBudget", "Service"),
    *("ServiceAccount", "ConfigMap", "Job", "NetworkPolicy", "HorizontalPodAutoscaler", "PodMonitor"),
)
_IDENTITY = ("uid", "resourceVersion", "creationTimestamp", "generation", "managedFields", "namespace")
_ALLOTTED = {
    "Service": ("clusterIP", "clusterIPs"),
    "PersistentVolumeClaim": ("volumeName",),
}
_OTHERS = ("deployment.kubernetes.io/", "pv.kubernetes.io/", "volume.kubernetes.io/")
"""Annotations that controllers put on children."""


def children(api: Api, namespace: str) -> Children:
    """All children of the campaign's server, as they are stored."""
    found = (obj for kind in KINDS for obj in api.list(kind, namespace, labels=f"{SERVER_LABEL}={NAME}"))
    return {(obj["kind"], obj["metadata"]["name"]): obj for obj in found}


def masked(found: Children, namespace: str) -> dict[str, str]:
    """Children as texts that are the same for servers of the same spec, whatever they have been through."""
    texts = {" ".join(ref): _text(_masked(obj), namespace) for ref, obj in found.items()}
    owners = {owner["uid"] for obj in found.values() for owner in obj["metadata"].get("ownerReferences", ())}
    for uid in owners:
        texts = {ref: text.replace(uid, "OWNER") for ref, text in texts.items()}
    return texts


def uids(found: Children) -> dict[tuple[str, str], str]:
    """The uid of every child."""
    return {ref: obj["metadata"]["uid"] for ref, obj in found.items()}


def said(server: Object) -> str:
    """A server's status without times and generations."""
    status = json.loads(json.dumps(server["status"]))
    status.pop("observedGeneration")
    for condition in status["conditions"]:
        condition.pop("observedGeneration")
        condition.pop("lastTransitionTime")
    return _text(status, server["metadata"]["namespace"])


def _text(value: Any, namespace: str) -> str:
    return json.dumps(value, indent=1, sort_keys=True).replace(namespace, "NAMESPACE")


def _masked(obj: Object) -> Object:
    metadata, kind = obj["metadata"], obj["kind"]
    masked = {key: value for key, value in obj.items() if key not in ("metadata", "status")}
    masked["metadata"] = {key: value for key, value in metadata.items() if key not in _IDENTITY}
    masked["ours"] = [
        each["fieldsV1"]
        for each in metadata["managedFields"]
        if (each["manager"], each["operation"]) == (MANAGER, "Apply")
    ]
    annotations = metadata.get("annotations", {}).items()
    kept = {key: value for key, value in annotations if not key.startswith(_OTHERS)}
    masked["metadata"].pop("annotations", None)
    if kept:
        masked["metadata"]["annotations"] = kept
    if kind == "ControllerRevision":
        masked["revision"] = "REVISION"
    if "spec" in obj:
        masked["spec"] = {k: v for k, v in obj["spec"].items() if k not in _ALLOTTED.get(kind, ())}
    if kind == "Service":
        masked["spec"]["ports"] = [
            {k: v for k, v in port.items() if k != "nodePort"} for port in obj["spec"]["ports"]
        ]
    return masked

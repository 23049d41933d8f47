"""Small objects that tests put into a cluster, and short questions about what came of them."""

from typing import Any

from tests.harness.api import Object, condition

RESTRICTED = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "runAsNonRoot": True,
    "seccompProfile": {"type": "RuntimeDefault"},
}


def pod_spec(environment: dict[str, str] | None = None, volume_claim: str = "", cpu: str = "1") -> Object:
    """Return a pod's spec that a restricted namespace admits; `cpu` is its request, in CPUs."""
    container: Object = {
        "name": "main",
        "image": "example.invalid/engine:1",
        "env": [{"name": name, "value": value} for name, value in (environment or {}).items()],
        "resources": {"requests": {"cpu": cpu}},
        "securityContext": RESTRICTED,
    }
    volume = {"name": "cache", "persistentVolumeClaim": {"claimName": volume_claim}}
    return {"containers": [container], "volumes": [volume] if volume_claim else []}


def pod(namespace: str, name: str, **choices: Any) -> Object:
    """Return a pod; `choices` go to `pod_spec`."""
    return _object("v1", "Pod", namespace, name) | {"spec": pod_spec(**choices)}


def deployment(namespace: str, name: str, replicas: int = 1, **choices: Any) -> Object:
    """Return a Deployment; `choices` go to `pod_spec`."""
    labels = {"app": name}
    template = {"metadata": {"labels": labels}, "spec": pod_spec(**choices)}
    spec = {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template}
    return _object("apps/v1", "Deployment", namespace, name) | {"spec": spec}


def job(namespace: str, name: str, **choices: Any) -> Object:
    """Return a Job that tries once; `choices` go to `pod_spec`."""
    template = {"spec": pod_spec(**choices) | {"restartPolicy": "Never"}}
    return _object("batch/v1", "Job", namespace, name) | {"spec": {"backoffLimit": 0, "template": template}}


def claim(namespace: str, name: str, storage_class: str | None, size: str = "200Gi") -> Object:
    """Return a claim of a class, or of the cluster's default class."""
    spec: Object = {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": size}}}
    if storage_class is not None:
        spec["storageClassName"] = storage_class
    return _object("v1", "PersistentVolumeClaim", namespace, name) | {"spec": spec}


def config_map(namespace: str, name: str, data: dict[str, str]) -> Object:
    """Return a ConfigMap."""
    return _object("v1", "ConfigMap", namespace, name) | {"data": data}


def is_ready(obj: Object) -> bool:
    """Say whether a pod or a node has the condition Ready."""
    return bool(condition(obj, "Ready").get("status") == "True")


def is_bound(obj: Object) -> bool:
    """Say whether a claim or a volume is bound."""
    return bool(obj.get("status", {}).get("phase") == "Bound")


def first_container(of: Object) -> Object:
    """Return the status of a pod's first container, empty before there is one."""
    statuses: list[Object] = of.get("status", {}).get("containerStatuses") or [{}]
    return statuses[0]


def waiting_state(of: Object) -> Object:
    """Return why a pod's first container waits (reason and message), or an empty dict."""
    state: Object = first_container(of).get("state", {}).get("waiting", {})
    return state


def _object(api_version: str, kind: str, namespace: str, name: str) -> Object:
    return {"apiVersion": api_version, "kind": kind, "metadata": {"name": name, "namespace": namespace}}

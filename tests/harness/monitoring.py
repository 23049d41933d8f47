"""The kind PodMonitor, which a cluster may have or not."""

from tests.harness.api import Api, Object

GROUP, PLURAL = "monitoring.coreos.com", "podmonitors"
_LABELS = {"type": "object", "additionalProperties": {"type": "string"}}
_DURATION = "^(0|(([0-9]+)y)?(([0-9]+)w)?(([0-9]+)d)?(([0-9]+)h)?(([0-9]+)m)?(([0-9]+)s)?(([0-9]+)ms)?)$"


def definition() -> Object:
    """The CRD as the Prometheus Operator ships it, with no more fields than a PodMonitor of ours has."""
    endpoint = {
        "type": "object",
        "properties": {
            "port": {"type": "string"},
            "path": {"type": "string"},
            "interval": {"type": "string", "pattern": _DURATION},
        },
    }
    spec = {
        "type": "object",
        "required": ["selector"],
        "properties": {
            "selector": {
                "type": "object",
                "properties": {"matchLabels": _LABELS},
                "x-kubernetes-map-type": "atomic",
            },
            "podMetricsEndpoints": {"type": "array", "items": endpoint},
            "podTargetLabels": {"type": "array", "items": {"type": "string"}},
        },
    }
    schema = {"type": "object", "required": ["spec"], "properties": {"spec": spec}}
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{PLURAL}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "names": {
                "kind": "PodMonitor",
                "listKind": "PodMonitorList",
                "plural": PLURAL,
                "shortNames": ["pmon"],
                "singular": "podmonitor",
            },
            "scope": "Namespaced",
            "versions": [version],
        },
    }


def install(api: Api) -> None:
    """Make the kind known, and wait until the API server serves it."""
    api.apply(definition(), force=True)
    api.wait_for(lambda: served(api), message="PodMonitors are served")


def remove(api: Api) -> None:
    """Take the kind away with all PodMonitors, and wait until the API server serves it no more."""
    name = definition()["metadata"]["name"]
    api.delete("CustomResourceDefinition", None, name, missing_ok=True)
    api.wait_gone("CustomResourceDefinition", None, name)
    api.wait_for(lambda: not served(api), message="PodMonitors are served no more")


def served(api: Api) -> bool:
    """Whether the API server knows the kind."""
    groups = api.request("GET", "/apis")["groups"]
    return any(group["name"] == GROUP for group in groups)

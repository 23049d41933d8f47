"""Where the API server keeps the kinds that the operator reads and writes."""

from vllm_operator.api.kinds import PLURALS
from vllm_operator.api.meta import GROUP, VERSION

_PATHS = {
    "ConfigMap": ("api/v1", "configmaps"),
    "ControllerRevision": ("apis/apps/v1", "controllerrevisions"),
    "Deployment": ("apis/apps/v1", "deployments"),
    "Event": ("apis/events.k8s.io/v1", "events"),
    "HorizontalPodAutoscaler": ("apis/autoscaling/v2", "horizontalpodautoscalers"),
    "Lease": ("apis/coordination.k8s.io/v1", "leases"),
    "NetworkPolicy": ("apis/networking.k8s.io/v1", "networkpolicies"),
    "PodDisruptionBudget": ("apis/policy/v1", "poddisruptionbudgets"),
    "Job": ("apis/batch/v1", "jobs"),
    "Pod": ("api/v1", "pods"),
    "PodMonitor": ("apis/monitoring.coreos.com/v1", "podmonitors"),
    "PersistentVolumeClaim": ("api/v1", "persistentvolumeclaims"),
    "Service": ("api/v1", "services"),
    "ServiceAccount": ("api/v1", "serviceaccounts"),
    **{kind: (f"apis/{GROUP}/{VERSION}", plural) for kind, plural in PLURALS.items()},
}


def path_of(kind: str, namespace: str | None, *rest: str) -> str:
    """Where objects of a kind are, in one namespace or in all, or what `rest` names below them."""
    prefix, plural = _PATHS[kind]
    within = ("namespaces", namespace) if namespace else ()
    return "/".join(("", prefix, *within, plural, *rest))

"""What the operator may do, as data: nothing on Secrets, no wildcard, no exec, no write of RBAC.

Roles and the chart are generated from it, and the cluster tests run the operator under exactly these
rules: a missing verb fails a test, and so does one that is never used.
"""

from typing import Any

from vllm_operator.api.kinds import PLURALS
from vllm_operator.api.meta import GROUP
from vllm_operator.api.vllmserver import PLURAL as VLLMSERVERS
from vllm_operator.desired.names import FIELD_MANAGER

# The API server asks for `create` beside `patch` when an apply creates the object.
_CHILD = ("create", "get", "list", "patch", "watch")

_RULES: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("", "configmaps", (*_CHILD, "delete")),
    ("", "events", ("list",)),
    ("", "persistentvolumeclaims", _CHILD),
    ("", "pods", ("list", "watch")),
    # Only with VLLM_OPERATOR_READ_LOGS; without it, take this line out of the role.
    ("", "pods/log", ("get",)),
    ("", "serviceaccounts", (*_CHILD, "delete")),
    ("", "services", (*_CHILD, "delete")),
    ("apps", "controllerrevisions", (*_CHILD, "delete")),
    ("apps", "deployments", (*_CHILD, "delete")),
    ("autoscaling", "horizontalpodautoscalers", (*_CHILD, "delete")),
    ("batch", "jobs", (*_CHILD, "delete")),
    ("events.k8s.io", "events", ("create",)),
    # Of a kind that may not exist: listed, not watched.
    ("monitoring.coreos.com", "podmonitors", ("create", "delete", "get", "list", "patch")),
    ("networking.k8s.io", "networkpolicies", (*_CHILD, "delete")),
    ("policy", "poddisruptionbudgets", (*_CHILD, "delete")),
    (GROUP, "fp8quantizations", ("list", "watch")),
    (GROUP, "fp8quantizations/status", ("patch",)),
    (GROUP, "vllmservers", ("list", "watch")),
    (GROUP, "vllmservers/status", ("patch",)),
)


def policy_rules() -> list[dict[str, Any]]:
    """The rules, in the form of a Role or ClusterRole."""
    return [
        {"apiGroups": [group], "resources": [resource], "verbs": sorted(verbs)}
        for group, resource, verbs in _RULES
    ]


def lease_rules() -> list[dict[str, Any]]:
    """The rules of a Role in the operator's own namespace, for its Lease alone."""
    leases = {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"]}
    return [
        # A request to create names no object that a rule could be bound to.
        {**leases, "verbs": ["create"]},
        {**leases, "resourceNames": [FIELD_MANAGER], "verbs": ["get", "update", "watch"]},
    ]


def view_rules() -> list[dict[str, Any]]:
    """What Kubernetes' own role `view` gets: to read our resources."""
    plurals = sorted(PLURALS.values())
    parts = [f"{plural}/status" for plural in plurals]
    scale = f"{VLLMSERVERS}/scale"
    return [
        {"apiGroups": [GROUP], "resources": plurals, "verbs": ["get", "list", "watch"]},
        {"apiGroups": [GROUP], "resources": [*parts, scale], "verbs": ["get"]},
    ]


def edit_rules() -> list[dict[str, Any]]:
    """What `edit` and `admin` get beside that: to write them, but not their status."""
    write = ["create", "delete", "deletecollection", "patch", "update"]
    return [
        {"apiGroups": [GROUP], "resources": sorted(PLURALS.values()), "verbs": write},
        {"apiGroups": [GROUP], "resources": [f"{VLLMSERVERS}/scale"], "verbs": ["patch", "update"]},
    ]

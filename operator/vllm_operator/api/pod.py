"""Fields of a resource that its pods take over: where they run, as whom, and what they bear."""

import re
from typing import Annotated

from pydantic import BeforeValidator, Field

from vllm_operator.api.embedded import Embedded
from vllm_operator.api.meta import GROUP, Model, Rule, checked, list_atomic, list_map, without_nulls
from vllm_operator.api.parts import DNS_NAME, ObjectName

_NAME = "[a-zA-Z0-9]([-._a-zA-Z0-9]{0,61}[a-zA-Z0-9])?"
KEY = f"^({DNS_NAME}/)?{_NAME}$"
"""Form of the key of a label or annotation."""
_KEY_RE = re.compile(KEY, re.ASCII)

RESERVED_LABELS = (
    *("app.kubernetes.io/component", "app.kubernetes.io/instance", "app.kubernetes.io/managed-by"),
    *("app.kubernetes.io/name", "pod-template-hash"),
)
"""Labels of a pod that the operator or a controller sets."""

RESERVED_ANNOTATIONS = ("kubectl.kubernetes.io/restartedAt",)
"""Annotations of a pod that others set: `kubectl rollout restart` writes this one, and must win."""

RESERVED_PREFIXES = (
    f"{GROUP}/",
    # Both loosen what Pod Security `restricted` asks for (k8s.io/pod-security-admission v0.36.3, policy/).
    "container.apparmor.security.beta.kubernetes.io/",
    "seccomp.security.alpha.kubernetes.io/",
)

QUALIFIED = Rule(
    f"self.all(k, k.split('/')[0].size() <= 253 && k.matches('{KEY}'))",
    "a key is a name of at most 63 of a-z, A-Z, 0-9, -, _ and ., perhaps with a DNS name (at most "
    "253 characters) and / before it",
    lambda keys: all(len(key.split("/")[0]) <= 253 and _KEY_RE.fullmatch(key) for key in keys),
)


def _free_of(names: tuple[str, ...]) -> Rule:
    return Rule(
        f"!self.exists(k, k in {list(names)} || {list(RESERVED_PREFIXES)}.exists(p, k.startsWith(p)))",
        f"others set these keys, leave them out: {', '.join(names)}, and what begins with "
        f"{', '.join(RESERVED_PREFIXES)}",
        lambda keys: not any(key in names or key.startswith(RESERVED_PREFIXES) for key in keys),
    )


LabelValue = Annotated[str, Field(max_length=63, pattern=f"^({_NAME})?$")]
_Labels = Annotated[dict[str, LabelValue], Field(max_length=32), BeforeValidator(without_nulls)]
_Annotations = Annotated[
    dict[str, Annotated[str, Field(max_length=4096)]], Field(max_length=32), BeforeValidator(without_nulls)
]

Labels = Annotated[_Labels, *checked(QUALIFIED)]
Annotations = Annotated[_Annotations, *checked(QUALIFIED)]
FurtherLabels = Annotated[_Labels, *checked(QUALIFIED, _free_of(RESERVED_LABELS))]
"""Labels beside those that the operator or a controller sets."""


ProxyUrl = Annotated[
    str,
    Field(max_length=512, pattern=r"^https?://[^\x00-\x20\x7f]+$"),
    *checked(
        Rule(
            "!self.contains('@')",
            "a proxy's password does not belong into a resource: leave proxy out, and set the variables by "
            "extraEnv from a Secret",
            lambda url: "@" not in url,
        )
    ),
]


class Proxy(Model):
    """Proxies on the way out, for downloads from the hub."""

    http_proxy: ProxyUrl | None = None
    """Proxy for `http://` addresses, such as `http://proxy.example.com:3128`."""
    https_proxy: ProxyUrl | None = None
    """Proxy for `https://` addresses."""
    no_proxy: Annotated[str, Field(max_length=4096, pattern=r"^[^\x00-\x1f\x7f]*$")] | None = None
    """Hosts and domains that are reached without a proxy, with commas between them."""


Spreads = Annotated[
    list[Annotated[Model, Embedded("TopologySpreadConstraint")]],
    Field(max_length=16),
    *list_map("topologyKey", "whenUnsatisfiable"),
]


class PodFields(Model):
    """Fields that the pods of a resource take over as they stand."""

    node_selector: Labels | None = None
    """Labels that a node must have."""
    tolerations: (
        Annotated[list[Annotated[Model, Embedded("Toleration")]], Field(max_length=32), *list_atomic()] | None
    ) = None
    """Taints of nodes that the pods tolerate: a pod's `tolerations` (core/v1 Toleration)."""
    affinity: Annotated[Model, Embedded("Affinity")] | None = None
    """Nodes and pods that the pods are drawn to or kept from: a pod's `affinity` (core/v1 Affinity), which
    looks at pods of the resource's own namespace only."""
    priority_class_name: ObjectName | None = None
    """PriorityClass of the pods."""
    service_account_name: ObjectName | None = None
    """An existing ServiceAccount, such as one with image pull secrets. No token of it is mounted. Unset: one
    is made that may do nothing."""
    pod_labels: FurtherLabels | None = None
    """Further labels of the pods."""
    pod_annotations: Annotated[_Annotations, *checked(QUALIFIED, _free_of(RESERVED_ANNOTATIONS))] | None = (
        None
    )
    """Further annotations of the pods."""
    proxy: Proxy | None = None
    """Proxies on the way out."""

"""Who may call a server: the key that it asks for, and the peers that reach its pods."""

from typing import Annotated

from pydantic import Field

from vllm_operator.api.embedded import Embedded
from vllm_operator.api.meta import Model, list_atomic
from vllm_operator.api.parts import DataKey, LocalReference


class ApiKeyReference(LocalReference):
    """Names a Secret that holds the key that callers give."""

    key: DataKey = "VLLM_API_KEY"
    """Key in the Secret that holds the key that callers give."""


class NetworkPolicy(Model):
    """NetworkPolicies of the server's pods, where the cluster's network plugin enforces them."""

    from_: Annotated[
        list[Annotated[Model, Embedded("NetworkPolicyPeer")]],
        Field(alias="from", min_length=1, max_length=16),
        *list_atomic(),
    ]
    """Who may reach the port of the pods: pods, namespaces or addresses (networking.k8s.io/v1
    NetworkPolicyPeer). Nobody else may, and no other port is open."""

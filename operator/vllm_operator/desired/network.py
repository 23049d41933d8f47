"""NetworkPolicies of a server: who reaches its pods, and what these reach.

Policies of a namespace add up: what one allows, no other takes back. So ours allow nothing but the named
peers: where pods may reach out, the policy does not speak of it, and one of the cluster's admin may deny it.
"""

from vllm_operator.api.observed import Observed
from vllm_operator.api.seen import Manifest
from vllm_operator.api.vllmserver import VLLMServer
from vllm_operator.desired import engine, names
from vllm_operator.desired.metadata import metadata
from vllm_operator.desired.render import render

Json = dict[str, object]


def policies(observed: Observed) -> list[Manifest]:
    """The NetworkPolicies of a server's pods and of those that fill its cache, where it asks for any."""
    server = observed.server
    if server.spec.network_policy is None:
        return []
    given = server.spec.network_policy.model_dump(by_alias=True, exclude_none=True)
    types = ["Ingress"] if _download(observed) else ["Ingress", "Egress"]
    made = [_policy(server, names.OF_SERVERS, types, given["from"])]
    if engine.prefetches(server.spec):
        made.append(_policy(server, names.PREFETCH, ["Ingress"], []))
    return made


def _download(observed: Observed) -> bool:
    """Whether there are, or are to be, pods that fetch the model themselves."""
    # Those of the revision before may still start: their record is kept until they are gone.
    return engine.downloads(observed.server.spec) or any(record.downloads for record in observed.records)


def _policy(server: VLLMServer, component: str, types: list[str], peers: list[Json]) -> Manifest:
    return render(
        "networkpolicy",
        metadata=metadata(server, names.network_policy(server.name, component), component=component),
        selector=names.selector(server.name) | {names.COMPONENT: component},
        types=types,
        peers=peers,
        port=names.PORT,
    )

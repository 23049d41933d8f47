"""NetworkPolicies: who reaches the pods of a resource, and what these reach.

Policies of a namespace add up: what one allows, no other takes back. So ours allow nothing but the named
peers: where pods may reach out, the policy does not speak of it, and one of the cluster's admin may deny it.
"""

from vllm_operator.api.fp8quantization import FP8Quantization
from vllm_operator.api.kinds import Ours
from vllm_operator.api.observed import Observed
from vllm_operator.api.seen import Manifest
from vllm_operator.api.vllmserver import VLLMServer
from vllm_operator.desired import engine, names
from vllm_operator.desired.metadata import metadata
from vllm_operator.desired.render import render

Json = dict[str, object]

NO_WAY_IN = ("Ingress",)
NO_WAY = ("Ingress", "Egress")
"""Types that a policy speaks of: what it then does not allow is denied."""


def of_server(observed: Observed) -> list[Manifest]:
    """The NetworkPolicies of a server's pods and of those that fill its cache, where it asks for any."""
    server = observed.server
    if server.spec.network_policy is None:
        return []
    given = server.spec.network_policy.model_dump(by_alias=True, exclude_none=True)
    types = NO_WAY_IN if _download(observed) else NO_WAY
    peers = given["from"]
    if server.spec.microservice.enabled:
        peers = [*peers, {"podSelector": {"matchLabels": names.microservice_selector(server.name)}}]
    made = [_policy(server, names.OF_SERVERS, types, peers)]
    if engine.prefetches(server.spec):
        made.append(_policy(server, names.PREFETCH, NO_WAY_IN))
    return made


def of_microservice(server: VLLMServer, metadata: Manifest) -> list[Manifest]:
    """The NetworkPolicy of a microservice: it answers nobody who may not ask the server itself."""
    if server.spec.network_policy is None:
        return []
    given = server.spec.network_policy.model_dump(by_alias=True, exclude_none=True)
    return [
        render(
            "networkpolicy",
            metadata=metadata,
            selector=names.microservice_selector(server.name),
            types=NO_WAY_IN,
            peers=given["from"],
            port=names.MICROSERVICE_PORT,
        )
    ]


def of_job(quantization: FP8Quantization, component: str) -> list[Manifest]:
    """The NetworkPolicy of the pods of a quantization's Job, where it asks for one."""
    if not quantization.spec.isolated:
        return []
    # What calibrates has found everything staged.
    return [_policy(quantization, component, NO_WAY if component == names.CALIBRATION else NO_WAY_IN)]


def _download(observed: Observed) -> bool:
    """Whether there are, or are to be, pods that fetch the model themselves."""
    # Those of the revision before may still start: their record is kept until they are gone.
    return engine.downloads(observed.server.spec) or any(record.downloads for record in observed.records)


def _policy(
    resource: Ours, component: str, types: tuple[str, ...], peers: list[Json] | None = None
) -> Manifest:
    return render(
        "networkpolicy",
        metadata=metadata(resource, names.network_policy(resource, component), component=component),
        selector=names.selector_of(resource, component),
        types=types,
        peers=peers,
        port=names.PORT,
    )

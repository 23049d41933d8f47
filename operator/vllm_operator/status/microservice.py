"""Whether a server's microservice answers. It decides nothing else: the server is ready without it."""

from vllm_operator.api.observed import DeploymentFacts, Observed
from vllm_operator.api.reasons import Reason
from vllm_operator.api.vllmserver import VLLMServer
from vllm_operator.desired import names
from vllm_operator.status import pods
from vllm_operator.status.conditions import Verdict


def judge(observed: Observed, record: str) -> Verdict | None:
    """What there is to say of it; None where it is not asked for.

    `record` is that of the template asked for; empty where that is not known, and any will do.
    """
    server, deployment = observed.server, observed.microservice
    if not server.spec.microservice.enabled:
        return None
    if names.MICROSERVICE in observed.refused:
        return Verdict(False, *observed.refused[names.MICROSERVICE])
    if deployment is None or not deployment.observed():
        return Verdict(False, Reason.ROLLING_OUT, "Waiting for the Deployment controller")
    return _of_pods(server, deployment, record or deployment.record or "")


def _of_pods(server: VLLMServer, deployment: DeploymentFacts, record: str) -> Verdict:
    name = names.microservice(server.name)
    wanted, ready = deployment.wanted_replicas, deployment.ready_replicas
    if not wanted:
        return Verdict(False, Reason.SUSPENDED, f"Deployment {name} is scaled to 0")
    if deployment.failure:
        again = names.kubectl(server.namespace, f"rollout restart deployment/{name}")
        return pods.refused("Pods of the microservice are", deployment.failure, again)
    if ready >= wanted and deployment.rolled_out(record):
        return Verdict(
            True, Reason.SERVING, f"Serves at {names.microservice_url(server)}/v1/chat/completions"
        )
    label = f"{names.OF_MICROSERVICE}={server.name}"
    look = names.kubectl(server.namespace, f"get pods -l {label}")
    new = min(deployment.updated_replicas, wanted)
    message = (
        f"{new} of {wanted} pods are of the template asked for, {ready} answer, which they do once the "
        f"server does. See {look}"
    )
    return Verdict(False, Reason.ROLLING_OUT, message)

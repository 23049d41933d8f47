"""Children that come and go with a field: the disruption budget, the account; and the Service's type."""

from tests.cluster import support
from tests.harness import manifests
from tests.harness.api import Api, Object
from tests.harness.audit import Audit
from tests.harness.manifests import is_ready
from tests.harness.operator import OperatorProcess

BUDGET, ACCOUNT = "PodDisruptionBudget", "ServiceAccount"


def test_a_disruption_budget_comes_and_goes_with_the_second_replica(
    api: Api, namespace: str, shared: OperatorProcess, audit: Audit
) -> None:
    """By the `scale` subresource, as an autoscaler does it, while the author's file names no number."""
    support.put(api, support.server(namespace))
    support.wait_serving(api, namespace)
    assert api.get(BUDGET, namespace, "chat") is None
    pods = {pod["metadata"]["uid"] for pod in api.list("Pod", namespace)}
    api.scale("VLLMServer", namespace, "chat", 3)
    budget = api.wait_object(
        BUDGET, namespace, "chat", lambda obj: obj.get("status", {}).get("currentHealthy") == 3, timeout=60
    )
    assert budget["status"]["disruptionsAllowed"] == 1
    again = support.put(api, support.server(namespace))
    assert again["spec"]["replicas"] == 3, "an apply without the field leaves it to the autoscaler"
    support.wait_at_rest(audit, shared, namespace)
    assert pods <= {pod["metadata"]["uid"] for pod in api.list("Pod", namespace)}, "scaling rolls nothing"
    api.scale("VLLMServer", namespace, "chat", 1)
    api.wait_gone(BUDGET, namespace, "chat")
    support.wait_serving(api, namespace)


def test_a_budget_that_somebody_deletes_comes_back(api: Api, namespace: str, shared: OperatorProcess) -> None:
    support.put(api, support.server(namespace, replicas=2))
    support.wait_serving(api, namespace)
    uid = support.child(api, namespace, BUDGET, "chat")["metadata"]["uid"]
    api.delete(BUDGET, namespace, "chat")
    api.wait_object(BUDGET, namespace, "chat", lambda obj: obj["metadata"]["uid"] != uid)


def test_another_managers_replicas_have_a_budget_too(
    api: Api, namespace: str, shared: OperatorProcess
) -> None:
    support.put(api, support.server(namespace))
    support.wait_serving(api, namespace)
    api.scale("Deployment", namespace, "chat", 2)
    api.wait_object(BUDGET, namespace, "chat")
    api.scale("Deployment", namespace, "chat", 1)
    api.wait_gone(BUDGET, namespace, "chat")


def test_the_own_account_goes_after_the_rollout_to_another(
    api: Api, namespace: str, shared: OperatorProcess
) -> None:
    """Until then pods of the revision before may have to be started anew."""
    metadata = {"name": "puller", "namespace": namespace}
    api.create({"apiVersion": "v1", "kind": ACCOUNT, "metadata": metadata})
    support.put(api, support.server(namespace, life="slow"))
    support.wait_serving(api, namespace)
    edited = support.put(api, support.server(namespace, life="slow", serviceAccountName="puller"))
    support.wait_serving(api, namespace)
    api.wait_gone(ACCOUNT, namespace, "chat-vllm")

    def of_puller(pod: Object) -> bool:
        return pod["spec"]["serviceAccountName"] == "puller" and is_ready(pod)

    ready = support.history(api, "Pod", namespace, edited, of_puller)[-1]
    gone = support.history(
        api, ACCOUNT, namespace, edited, lambda obj: obj["metadata"]["name"] == "chat-vllm"
    )[-1]
    assert gone["change"] == "DELETED"
    assert support.version(gone) > support.version(ready)
    support.child(api, namespace, ACCOUNT, "puller")
    support.put(api, support.server(namespace, life="slow"))
    support.wait_serving(api, namespace)
    support.child(api, namespace, ACCOUNT, "chat-vllm")
    support.child(api, namespace, ACCOUNT, "puller")


def test_the_service_changes_its_type_and_back(
    api: Api, namespace: str, shared: OperatorProcess, audit: Audit
) -> None:
    support.put(api, support.server(namespace))
    support.wait_serving(api, namespace)
    before = support.child(api, namespace, "Service", "chat")
    pods = [pod["metadata"]["uid"] for pod in api.list("Pod", namespace)]
    note = {"example.com/internal": "true"}
    for change in (
        {"type": "NodePort"},
        {"type": "LoadBalancer", "annotations": note},
        {"type": "LoadBalancer"},
        {"type": "ClusterIP"},
    ):
        mark = audit.mark()
        support.put(api, support.server(namespace, service=change))
        support.wait_serving(api, namespace)
        support.wait_at_rest(audit, shared, namespace)
        found = support.child(api, namespace, "Service", "chat")
        assert found["spec"]["type"] == change["type"]
        assert found["metadata"].get("annotations", {}) == change.get("annotations", {})
        assert found["spec"]["clusterIP"] == before["spec"]["clusterIP"]
        written = audit.writes(shared.user, namespace, since=mark)
        services = [each for each in written if each.resource == "services"]
        assert len(services) == 1, support.shown(written)
    assert found["spec"] == before["spec"], "nothing is left of the other types"
    assert [pod["metadata"]["uid"] for pod in api.list("Pod", namespace)] == pods


def test_a_given_claims_files_can_be_given_a_group(
    api: Api, namespace: str, shared: OperatorProcess, audit: Audit
) -> None:
    api.create(manifests.claim(namespace, "weights", "wait"))
    support.put(api, support.server(namespace, cache={"claimName": "weights", "fsGroup": 2000}))
    support.wait_serving(api, namespace)
    (pod,) = api.list("Pod", namespace)
    context = pod["spec"]["securityContext"]
    assert (context["fsGroup"], context["runAsUser"]) == (2000, 1000)
    assert context["fsGroupChangePolicy"] == "OnRootMismatch"
    assert not [each for each in audit.writes(shared.user, namespace) if "claim" in each.resource]

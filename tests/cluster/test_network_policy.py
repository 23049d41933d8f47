"""NetworkPolicies come before the pods, follow the spec without rolling a pod, and go with their field."""

from typing import Any

from tests.cluster import prefetching, quantizing, support
from tests.harness.api import Api, Object
from tests.harness.audit import Audit
from tests.harness.operator import OperatorProcess

POLICY = "NetworkPolicy"
WEB: Object = {"podSelector": {"matchLabels": {"app": "web"}}}
MONITORING: Object = {
    "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}},
    "podSelector": {},
}
OFFICE: Object = {"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}}


def server(namespace: str, *peers: Object, **spec: Any) -> Object:
    if peers:
        spec["networkPolicy"] = {"from": list(peers)}
    return support.server(namespace, **spec)


def policies(api: Api, namespace: str) -> dict[str, Object]:
    return {each["metadata"]["name"]: each["spec"] for each in api.list(POLICY, namespace)}


def test_policies_come_before_pods_and_go_with_the_field(
    api: Api, namespace: str, shared: OperatorProcess, audit: Audit
) -> None:
    support.put(api, server(namespace, WEB, MONITORING, OFFICE, prefetch=True))
    support.wait_serving(api, namespace)
    made = policies(api, namespace)
    port = [{"port": 8000, "protocol": "TCP"}]
    assert made["chat"]["ingress"] == [{"from": [WEB, MONITORING, OFFICE], "ports": port}]
    assert (made["chat"]["policyTypes"], "egress" in made["chat"]) == (["Ingress", "Egress"], False)
    assert made["chat-prefetch"]["policyTypes"] == ["Ingress"]
    assert "ingress" not in made["chat-prefetch"]
    found = support.children(api, namespace)
    last = max(support.version(obj) for (kind, _), obj in found.items() if kind == POLICY)
    pods = api.list("Pod", namespace)
    creations = [
        each
        for each in audit.writes(shared.user, namespace)
        if each.code == 201 and each.resource in ("networkpolicies", "jobs", "deployments")
    ]
    assert [each.resource for each in creations] == [*["networkpolicies"] * 2, "jobs", "deployments"]
    assert last < support.version(support.child(api, namespace, "Deployment", "chat"))

    # Other peers, and then none: no pod is made anew.
    support.put(api, server(namespace, WEB, prefetch=True))
    api.wait_object(POLICY, namespace, "chat", lambda obj: obj["spec"]["ingress"][0]["from"] == [WEB])
    support.wait_serving(api, namespace)
    support.put(api, server(namespace, prefetch=True))
    api.wait_gone(POLICY, namespace, "chat")
    api.wait_gone(POLICY, namespace, "chat-prefetch")
    support.wait_serving(api, namespace)
    uids = [{pod["metadata"]["uid"] for pod in each} for each in (pods, api.list("Pod", namespace))]
    assert uids[0] == uids[1]
    support.wait_at_rest(audit, shared, namespace)


def test_a_policy_that_somebody_edits_or_deletes_comes_back(
    api: Api, namespace: str, shared: OperatorProcess
) -> None:
    support.put(api, server(namespace, WEB))
    support.wait_serving(api, namespace)
    before = support.child(api, namespace, POLICY, "chat")
    wider: Object = {"spec": {"policyTypes": ["Ingress"], "ingress": [{}]}}
    api.patch(POLICY, namespace, "chat", wider)
    api.wait_object(POLICY, namespace, "chat", lambda obj: obj["spec"] == before["spec"])
    api.delete(POLICY, namespace, "chat")
    again = api.wait_object(
        POLICY, namespace, "chat", lambda obj: obj["metadata"]["uid"] != before["metadata"]["uid"]
    )
    assert again["spec"] == before["spec"]


def test_pods_that_download_are_let_out_until_they_are_gone(
    api: Api, namespace: str, shared: OperatorProcess
) -> None:
    support.put(api, server(namespace, WEB, prefetch=False))
    support.wait_serving(api, namespace)
    assert policies(api, namespace)["chat"]["policyTypes"] == ["Ingress"]
    edited = support.put(api, server(namespace, WEB, life="held", prefetch=True))
    job = prefetching.job(api, namespace)
    assert policies(api, namespace)["chat"]["policyTypes"] == ["Ingress"], "the pods before still serve"
    prefetching.end(api, namespace, job)
    support.wait_serving(api, namespace)
    closed = api.wait_object(POLICY, namespace, "chat", lambda obj: len(obj["spec"]["policyTypes"]) == 2)
    old = [
        each
        for each in support.history(api, "Pod", namespace, edited, lambda obj: obj["change"] == "DELETED")
        if each["change"] == "DELETED"
    ]
    assert support.version(old[0]) < support.version(closed)


def test_a_peer_that_is_none_is_refused_and_no_pod_is_made(
    api: Api, namespace: str, shared: OperatorProcess
) -> None:
    """A policy that is not there lets everybody in."""
    support.put(api, server(namespace, WEB, {}))
    words = "NetworkPolicy chat was refused by the API server"
    support.wait_stalled(api, namespace, "chat", "ChildRejected", words=words)
    assert api.list("Deployment", namespace) == []


def test_a_policy_of_somebody_elses_is_never_taken_over(
    api: Api, namespace: str, shared: OperatorProcess
) -> None:
    theirs: Object = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": POLICY,
        "metadata": {"name": "chat", "namespace": namespace},
        "spec": {"podSelector": {}, "policyTypes": ["Ingress"]},
    }
    spec = api.create(theirs)["spec"]
    support.put(api, server(namespace, WEB))
    support.wait_stalled(api, namespace, "chat", "NotOwned", words=f"{POLICY} chat exists")
    assert policies(api, namespace)["chat"] == spec
    assert api.list("Deployment", namespace) == []


def test_policies_of_a_quantization_last_as_long_as_its_jobs_work(
    api: Api, namespace: str, shared: OperatorProcess, audit: Audit
) -> None:
    quantizing.make_claim(api, namespace)
    created = support.put(api, quantizing.quantization(namespace, isolated=True))
    quantizing.wait_ready(api, namespace)
    kinds = ("networkpolicies", "jobs")

    def made_of() -> list[str]:
        writes = audit.writes(shared.user, namespace)
        return [each.resource for each in writes if each.resource in kinds and each.code == 201]

    # The log of a busy API server comes late.
    api.wait_for(lambda: len(made_of()) >= 4, message="two policies and two Jobs in the audit log")
    support.wait_at_rest(audit, shared, namespace)
    assert made_of() == ["networkpolicies", "jobs", "networkpolicies", "jobs"]
    api.wait_gone(POLICY, namespace, "llama-fp8q-calibration")

    def is_last(obj: Object) -> bool:
        return (obj["metadata"]["name"], obj["change"]) == ("llama-fp8q-calibration", "DELETED")

    states = support.history(api, POLICY, namespace, created, is_last)
    made = {each["metadata"]["name"]: each["spec"]["policyTypes"] for each in states}
    assert made == {"llama-fp8q-prefetch": ["Ingress"], "llama-fp8q-calibration": ["Ingress", "Egress"]}
    assert policies(api, namespace) == {}

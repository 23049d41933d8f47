"""Fields that make and unmake children: each is set and unset again, and the order of events is watched."""

import pytest

from tests.campaign.lanes import put
from tests.campaign.view import CHILDREN, NAME
from tests.cluster import prefetching, support
from tests.cluster.prefetching import COMMIT
from tests.harness import manifests
from tests.harness.api import Api, ApiError, Object
from tests.harness.operator import OperatorProcess

SMALL: Object = {
    "model": {"name": "org/model"},
    "device": "cpu",
    "cache": {"size": "10Gi"},
    "prefetch": False,
}


@pytest.fixture
def serving(api: Api, namespace: str, shared: OperatorProcess) -> Object:
    """A small server that serves."""
    put(api, namespace, SMALL)
    return support.wait_serving(api, namespace, NAME)


def service(api: Api, namespace: str) -> Object:
    return support.child(api, namespace, "Service", NAME)


def test_a_service_changes_its_type_round_and_back(api: Api, namespace: str, serving: Object) -> None:
    before = service(api, namespace)
    for kind, allotted in (("NodePort", True), ("LoadBalancer", True), ("ClusterIP", False)):
        put(api, namespace, SMALL | {"service": {"type": kind}})
        support.wait_serving(api, namespace, NAME)
        now = service(api, namespace)
        assert now["spec"]["type"] == kind
        assert [bool(port.get("nodePort")) for port in now["spec"]["ports"]] == [allotted]
        assert now["spec"]["clusterIP"] == before["spec"]["clusterIP"]
    assert service(api, namespace)["spec"] == before["spec"]
    assert service(api, namespace)["metadata"]["uid"] == before["metadata"]["uid"]


def test_a_service_changes_its_port_and_back(api: Api, namespace: str, serving: Object) -> None:
    before = service(api, namespace)
    pods = [pod["metadata"]["uid"] for pod in api.list("Pod", namespace)]
    for fields, port in (({"service": {"port": 80}}, 80), ({}, 8008)):
        put(api, namespace, SMALL | fields)
        server = support.wait_serving(api, namespace, NAME)
        assert server["status"]["url"] == f"http://{NAME}.{namespace}.svc:{port}"
        assert [each["port"] for each in service(api, namespace)["spec"]["ports"]] == [port]
    assert service(api, namespace)["spec"] == before["spec"]
    assert [pod["metadata"]["uid"] for pod in api.list("Pod", namespace)] == pods, "no pod has a part in it"


def wait_pods(api: Api, namespace: str, count: int) -> None:
    api.wait_for(lambda: len(api.list("Pod", namespace)) == count, message=f"{count} pods")


def test_a_budget_comes_and_goes_with_the_second_replica(api: Api, namespace: str, serving: Object) -> None:
    kind, name = CHILDREN["budget"]
    (first,) = api.list("Pod", namespace)
    for fields, replicas in (({"replicas": 2}, 2), ({"replicas": 1}, 1), ({"replicas": 2}, 2), ({}, 1)):
        put(api, namespace, SMALL | fields)
        if replicas > 1:
            budget = api.wait_object(kind, namespace, name)
            assert budget["spec"]["maxUnavailable"] == 1
        else:
            api.wait_gone(kind, namespace, name)
        wait_pods(api, namespace, replicas)
        assert first["metadata"]["name"] in {pod["metadata"]["name"] for pod in api.list("Pod", namespace)}


def test_an_account_goes_after_the_last_pod_that_runs_as_it_and_comes_back(
    api: Api, namespace: str, serving: Object
) -> None:
    kind, name = CHILDREN["account"]
    metadata = {"name": "puller", "namespace": namespace}
    api.create({"apiVersion": "v1", "kind": kind, "metadata": metadata})
    edit = put(api, namespace, SMALL | {"serviceAccountName": "puller"})
    support.wait_serving(api, namespace, NAME)
    api.wait_gone(kind, namespace, name)
    gone = support.history(api, kind, namespace, edit, lambda obj: obj["metadata"]["name"] == name)[-1]
    assert gone["change"] == "DELETED"

    def runs(pod: Object) -> bool:
        return pod["spec"]["serviceAccountName"] == "puller" and manifests.is_ready(pod)

    pods = support.history(api, "Pod", namespace, edit, runs)
    last = [pod for pod in pods if pod["change"] == "DELETED" and pod["spec"]["serviceAccountName"] == name]
    assert [support.version(pod) < support.version(gone) for pod in (*last, pods[-1])] == [True, True]
    put(api, namespace, SMALL)
    api.wait_object(kind, namespace, name)
    support.wait_serving(api, namespace, NAME)
    (pod,) = api.list("Pod", namespace)
    assert pod["spec"]["serviceAccountName"] == name
    assert api.get(kind, namespace, "puller"), "what was given is not ours to delete"


def test_a_growth_that_the_class_refuses_has_a_way_back(api: Api, namespace: str, serving: Object) -> None:
    """A size cannot shrink, not even one that never came about: the claim is named once, and is then made."""
    kind, name = CHILDREN["claim"]
    uid = support.child(api, namespace, kind, name)["metadata"]["uid"]
    put(api, namespace, SMALL | {"cache": {"size": "20Gi"}})
    support.wait_stalled(api, namespace, NAME, "ChildRejected", words="only dynamically provisioned pvc")
    with pytest.raises(ApiError, match="size may grow, but not shrink"):
        put(api, namespace, SMALL)
    put(api, namespace, SMALL | {"cache": {"claimName": name}})
    support.wait_serving(api, namespace, NAME)
    put(api, namespace, SMALL)
    support.wait_serving(api, namespace, NAME)
    claim = support.child(api, namespace, kind, name)
    assert (claim["metadata"]["uid"], claim["spec"]["resources"]["requests"]["storage"]) == (uid, "10Gi")


def words_of(deployment: Object) -> list[str]:
    words: list[str] = deployment["spec"]["template"]["spec"]["containers"][0]["args"]
    return words


def test_a_prefetch_comes_before_the_pods_that_need_it_and_goes_with_their_record(
    api: Api, namespace: str, serving: Object
) -> None:
    model = {"name": "org/model", "tokenSecretRef": {"name": "token"}}
    edit = put(api, namespace, SMALL | {"model": model, "prefetch": True})
    support.wait_serving(api, namespace, NAME)
    states = support.history(api, "Deployment", namespace, edit, lambda obj: "--revision" in words_of(obj))
    made = {
        kind: support.history(api, kind, namespace, edit, lambda obj: obj["change"] == "DELETED")
        for kind in ("ConfigMap", "Job")
    }
    names = {kind: [obj["metadata"]["name"] for obj in found] for kind, found in made.items()}
    assert set(names["ConfigMap"]) == {f"{NAME}-prefetch"}
    assert [name.startswith(f"{NAME}-prefetch-") for name in set(names["Job"])] == [True]
    for found in made.values():
        assert found[0]["change"] == "ADDED"
        assert support.version(found[0]) < support.version(states[-1]) < support.version(found[-1])
    words, variables = words_of(states[-1]), support.environment(states[-1])
    assert words[words.index("--revision") + 1] == COMMIT
    assert (variables["HF_HUB_OFFLINE"], variables["TRANSFORMERS_OFFLINE"]) == ("1", "1")
    assert "HF_TOKEN" not in prefetching.variables(states[-1]["spec"]["template"]["spec"])
    put(api, namespace, SMALL | {"model": model})
    support.wait_serving(api, namespace, NAME)
    deployment = support.child(api, namespace, "Deployment", NAME)
    assert "--revision" not in words_of(deployment)
    assert "HF_TOKEN" in prefetching.variables(deployment["spec"]["template"]["spec"])

"""The main job: one VLLMServer from apply to Ready, and what kubectl shows of it."""

from itertools import pairwise

import pytest

from tests.cluster import support
from tests.cluster.kubectl import kubectl
from tests.harness.api import Api, Object, condition
from tests.harness.operator import Cluster, OperatorProcess

DEFAULT_IMAGE = "docker.io/vllm/vllm-openai-cpu:v0.32.0-x86_64"


def events(api: Api, namespace: str, name: str) -> list[tuple[str, str]]:
    """Return type and reason of the Events about a server, the oldest first."""
    found = api.list("Event", namespace, fields=f"involvedObject.kind=VLLMServer,involvedObject.name={name}")
    found.sort(key=lambda event: str(event["eventTime"]))
    return [(event["type"], event["reason"]) for event in found]


def test_a_status_that_nobody_has_written_says_so(api: Api, namespace: str) -> None:
    created = api.create(support.server(namespace))
    assert created["status"] == {"observedGeneration": -1}


def test_from_apply_to_ready(api: Api, namespace: str, shared: OperatorProcess) -> None:
    warnings = len(api.warnings)
    support.put(api, support.server(namespace, life="slow"))
    ready = support.wait_serving(api, namespace)
    assert api.warnings[warnings:] == []

    status = ready["status"]
    assert {key: value for key, value in status.items() if key != "conditions"} == {
        "observedGeneration": ready["metadata"]["generation"],
        "replicas": 1,
        "readyReplicas": 1,
        "selector": "app.kubernetes.io/component=server,vllm-operator.dev/server=chat",
        "url": f"http://chat.{namespace}.svc:8008",
        "precision": "bf16",
        "image": DEFAULT_IMAGE,
        "refreshAvailable": False,
    }
    told = {each["type"]: (each["status"], each["reason"]) for each in status["conditions"]}
    assert told == {"Ready": ("True", "Serving"), "Available": ("True", "Serving")}
    assert condition(ready, "Ready")["message"] == f"Serves at {status['url']}/v1"
    (pod,) = api.list("Pod", namespace, labels=status["selector"])
    assert condition(pod, "Ready")["status"] == "True"
    # An object of the author's own is written by its author only, but for the status.
    assert "annotations" not in ready["metadata"]
    assert "finalizers" not in ready["metadata"]
    managers = {(each["manager"], each.get("subresource")) for each in ready["metadata"]["managedFields"]}
    assert managers == {("author", None), (support.MANAGER, "status")}


def test_children_and_their_owner(api: Api, namespace: str, shared: OperatorProcess) -> None:
    support.put(api, support.server(namespace, cache={"size": "50Gi", "retention": "Delete"}))
    ready = support.wait_serving(api, namespace)
    found = support.children(api, namespace)
    digest = support.record(api, namespace)
    assert set(found) == {
        ("ServiceAccount", "chat-vllm"),
        ("PersistentVolumeClaim", "chat-cache"),
        ("ControllerRevision", f"chat-{digest}"),
        ("Service", "chat"),
        ("Deployment", "chat"),
    }
    owner = {
        "apiVersion": ready["apiVersion"],
        "kind": "VLLMServer",
        "name": "chat",
        "uid": ready["metadata"]["uid"],
        "controller": True,
    }
    for ref, obj in found.items():
        assert obj["metadata"]["ownerReferences"] == [owner], ref
        ours = [each for each in obj["metadata"]["managedFields"] if each["manager"] == support.MANAGER]
        assert [each["operation"] for each in ours] == ["Apply"], ref

    api.delete("VLLMServer", namespace, "chat")
    api.wait_for(
        lambda: not support.children(api, namespace), timeout=60, message="all children go with their server"
    )


def test_one_event_for_each_change(api: Api, namespace: str, shared: OperatorProcess) -> None:
    support.put(api, support.server(namespace, life="never-ready"))
    support.wait_reconciling(api, namespace, "chat", "WarmingUp")
    support.put(api, support.server(namespace, extraArgs=["--no-such-flag"]))
    support.wait_stalled(api, namespace, "chat", "InvalidForEngine")
    support.put(api, support.server(namespace))
    support.wait_serving(api, namespace)
    api.wait_for(
        lambda: ("Normal", "Serving") in events(api, namespace, "chat"), message="the Event of Serving"
    )
    told = events(api, namespace, "chat")
    # On the way to its pod a condition may be RollingOut and WarmingUp; no reason follows itself.
    assert all(one != two for one, two in pairwise(told)), told
    assert ("Normal", "WarmingUp") in told[: told.index(("Warning", "InvalidForEngine"))]
    decisive = [each for each in told if each[1] not in {"RollingOut", "WarmingUp"}]
    assert decisive == [("Warning", "InvalidForEngine"), ("Normal", "Serving")], shared.tail()


@pytest.fixture
def serving(api: Api, namespace: str, shared: OperatorProcess) -> Object:
    support.put(api, support.server(namespace))
    return support.wait_serving(api, namespace)


def test_kubectl_get_and_wait(cluster: Cluster, api: Api, namespace: str, shared: OperatorProcess) -> None:
    support.put(api, support.server(namespace, life="slow"))
    waited = kubectl(cluster, namespace, "wait", "--for=condition=Ready", "--timeout=90s", "vllm/chat")
    assert waited == "vllmserver.vllm-operator.dev/chat condition met\n"
    header, row = kubectl(cluster, namespace, "get", "vllm", "-o", "wide").splitlines()
    assert header.split()[:1] == ["NAME"]
    for column in ("MODEL", "DEVICE", "PRECISION", "READY", "REPLICAS", "URL", "AGE", "REASON", "IMAGE"):
        assert column in header.split()
    for value in ("chat", "Qwen/Qwen3-0.6B", "cpu", "bf16", "True", "Serving", DEFAULT_IMAGE):
        assert value in row.split()
    assert "chat" in kubectl(cluster, namespace, "get", "all", "-o", "name")


def test_kubectl_scale(cluster: Cluster, api: Api, namespace: str, serving: Object) -> None:
    before = support.record(api, namespace)
    kubectl(cluster, namespace, "scale", "vllm/chat", "--replicas=2")
    ready = support.wait_serving(api, namespace)
    api.wait_object(
        "VLLMServer", namespace, "chat", lambda obj: obj["status"]["readyReplicas"] == 2, message="two ready"
    )
    assert ready["spec"]["replicas"] == 2
    scale = api.request(
        "GET", f"/apis/vllm-operator.dev/v1alpha1/namespaces/{namespace}/vllmservers/chat/scale"
    )
    assert scale["status"]["selector"] == ready["status"]["selector"]
    kubectl(cluster, namespace, "scale", "vllm/chat", "--replicas=0")
    support.wait_condition(api, namespace, "chat", "Suspended", "True")
    assert support.record(api, namespace) == before, "scaling rolls nothing"


def test_kubectl_explain(cluster: Cluster, namespace: str) -> None:
    printed = kubectl(cluster, namespace, "explain", "vllmserver.spec.cache.retention")
    assert "Whether the claim that is made outlives this resource" in printed

"""What a kubelet says of pods becomes a reason, and the line in its message leads out of it."""

from pathlib import Path

import pytest

from tests.cluster import support
from tests.cluster.kubectl import follow, lines
from tests.harness.api import Api, Object
from tests.harness.manifests import is_ready
from tests.harness.operator import Cluster, OperatorProcess

MODEL: Object = {"name": "Qwen/Qwen3-0.6B"}
TOKEN = MODEL | {"tokenSecretRef": {"name": "hf"}}


def pod(api: Api, namespace: str) -> Object:
    (found,) = api.list("Pod", namespace)
    return found


def annotate(api: Api, namespace: str, name: str, annotation: str) -> None:
    """Tell the played kubelet of something: see `tests/harness/stages/pods.yaml`."""
    api.patch("Pod", namespace, name, {"metadata": {"annotations": {annotation: "yes"}}})


def serves_on(api: Api, namespace: str, before: Object) -> None:
    """What was missed is there: the very pod goes on, and nothing is rolled."""
    annotate(api, namespace, before["metadata"]["name"], "test-found")
    support.wait_serving(api, namespace)
    assert pod(api, namespace)["metadata"]["uid"] == before["metadata"]["uid"]


def test_out_of_memory(api: Api, namespace: str, shared: OperatorProcess) -> None:
    support.put(api, support.server(namespace, life="oom", resources={"limits": {"memory": "24Gi"}}))
    words = "more memory than its limit of 24Gi. Raise spec.resources.limits.memory"
    message = support.wait_reconciling(api, namespace, "chat", "OutOfMemory", words=words)
    name = pod(api, namespace)["metadata"]["name"]
    assert lines(message) == [f"kubectl -n {namespace} logs {name} --previous"]
    support.put(api, support.server(namespace, resources={"limits": {"memory": "48Gi"}}))
    support.wait_serving(api, namespace)


def test_secret_not_found(cluster: Cluster, api: Api, namespace: str, shared: OperatorProcess) -> None:
    support.put(api, support.server(namespace, life="no-secret", model=TOKEN))
    words = 'secret "hf" not found. Make what spec.model.tokenSecretRef names'
    message = support.wait_reconciling(api, namespace, "chat", "SecretNotFound", words=words)
    waits = pod(api, namespace)
    assert follow(cluster, message, "create secret") == "secret/hf created\n"
    assert set(support.child(api, namespace, "Secret", "hf")["data"]) == {"HF_TOKEN"}
    serves_on(api, namespace, waits)


def test_secret_not_found_without_the_key(
    cluster: Cluster, api: Api, namespace: str, shared: OperatorProcess
) -> None:
    metadata = {"name": "hf", "namespace": namespace}
    api.create({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": {"token": "t"}})
    support.put(api, support.server(namespace, life="no-key", model=TOKEN))
    words = f"couldn't find key HF_TOKEN in Secret {namespace}/hf"
    message = support.wait_reconciling(api, namespace, "chat", "SecretNotFound", words=words)
    waits = pod(api, namespace)
    assert follow(cluster, message, "patch secret") == "secret/hf patched\n"
    assert set(support.child(api, namespace, "Secret", "hf")["data"]) == {"token", "HF_TOKEN"}
    serves_on(api, namespace, waits)


def test_secret_not_found_of_the_key_for_callers(
    cluster: Cluster, api: Api, namespace: str, shared: OperatorProcess
) -> None:
    made = support.server(namespace, life="no-secret", model=MODEL, apiKeySecretRef={"name": "callers"})
    support.put(api, made)
    words = 'secret "callers" not found. Make what spec.apiKeySecretRef names'
    message = support.wait_reconciling(api, namespace, "chat", "SecretNotFound", words=words)
    waits = pod(api, namespace)
    assert follow(cluster, message, "create secret") == "secret/callers created\n"
    assert set(support.child(api, namespace, "Secret", "callers")["data"]) == {"VLLM_API_KEY"}
    serves_on(api, namespace, waits)


def test_container_not_created(cluster: Cluster, api: Api, namespace: str, shared: OperatorProcess) -> None:
    made = support.server(namespace, life="no-config")
    source = {"configMapKeyRef": {"name": "settings", "key": "level"}}
    made["spec"]["extraEnv"].append({"name": "VLLM_LOGGING_LEVEL", "valueFrom": source})
    support.put(api, made)
    words = 'CreateContainerConfigError: configmap "settings" not found. Make what spec.extraEnv[1]'
    message = support.wait_reconciling(api, namespace, "chat", "ContainerNotCreated", words=words)
    waits = pod(api, namespace)
    assert follow(cluster, message, "create configmap") == "configmap/settings created\n"
    assert set(support.child(api, namespace, "ConfigMap", "settings")["data"]) == {"level"}
    serves_on(api, namespace, waits)


@pytest.mark.parametrize("there", [False, True], ids=["no ConfigMap", "no such key"])
def test_mount_failed(
    *, cluster: Cluster, api: Api, namespace: str, shared: OperatorProcess, tmp_path: Path, there: bool
) -> None:
    """Only an Event tells of it, which the operator asks for."""
    template = {"configMapKeyRef": {"name": "templates", "key": "chat.jinja"}}
    support.put(api, support.server(namespace, life="no-mount", model=MODEL | {"chatTemplate": template}))
    words = (
        'volume "chat-template" : configmap "templates" not found. Make what spec.model.chatTemplate names'
    )
    message = support.wait_reconciling(api, namespace, "chat", "MountFailed", words=words)
    waits = pod(api, namespace)
    metadata = {"name": "templates", "namespace": namespace}
    if there:
        api.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"other": "o"}})
    file = tmp_path / "template"
    file.write_text("{{ messages }}")
    follow(cluster, message, "create configmap", FILE=str(file))
    data = support.child(api, namespace, "ConfigMap", "templates")["data"]
    assert data == {"chat.jinja": "{{ messages }}"} | ({"other": "o"} if there else {})
    serves_on(api, namespace, waits)


def test_evicted(api: Api, namespace: str, shared: OperatorProcess) -> None:
    node = api.list("Node")[0]["metadata"]["name"]
    label = f"room-of-{namespace}"

    def room(value: str | None) -> None:
        api.patch("Node", None, node, {"metadata": {"labels": {label: value}}})

    room("yes")
    support.put(api, support.server(namespace, nodeSelector={label: "yes"}))
    support.wait_serving(api, namespace)
    first = pod(api, namespace)["metadata"]["name"]
    room(None)
    annotate(api, namespace, first, "test-evict")
    words = "The node was low on resource: memory."
    message = support.wait_reconciling(api, namespace, "chat", "Evicted", words=words)
    message = support.wait_reconciling(api, namespace, "chat", "Evicted", words="No node takes the next one")
    assert "spec.resources.requests" in message
    assert lines(message) == [f"kubectl -n {namespace} describe pod {first}"]
    room("yes")
    support.wait_serving(api, namespace)
    pods = {each["metadata"]["name"]: is_ready(each) for each in api.list("Pod", namespace)}
    assert (len(pods), pods[first], sum(pods.values())) == (2, False, 1), "the evicted pod is still there"
    room(None)

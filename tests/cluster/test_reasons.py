"""Every reason, seen on a real cluster, and the way out of it that a user has."""

import pytest

from tests.cluster import support
from tests.harness import manifests
from tests.harness.api import Api, Object, condition
from tests.harness.operator import OperatorProcess

LAST_WORDS = "torch: out of luck \U0001f600 del \x7f next-line \x85 end"


def touch(api: Api, namespace: str) -> None:
    """Make the operator look at once at what it cannot watch, and so looks at every minute only."""
    api.patch("VLLMServer", namespace, "chat", {"metadata": {"annotations": {"look": "again"}}})


def quota(api: Api, namespace: str, **hard: str) -> None:
    """Put a limit on a namespace, and wait until it is in force."""
    metadata = {"name": "limit", "namespace": namespace}
    api.create({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": metadata, "spec": {"hard": hard}})
    api.wait_object(
        "ResourceQuota", namespace, "limit", lambda obj: obj.get("status", {}).get("hard") == hard
    )


def mend(api: Api, namespace: str) -> None:
    support.put(api, support.server(namespace))
    support.wait_serving(api, namespace)


def test_not_owned(api: Api, namespace: str, shared: OperatorProcess) -> None:
    api.create(
        {
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": {"name": "chat-vllm", "namespace": namespace},
        }
    )
    support.put(api, support.server(namespace))
    support.wait_stalled(api, namespace, "chat", "NotOwned", words="ServiceAccount chat-vllm")
    api.delete("ServiceAccount", namespace, "chat-vllm")
    touch(api, namespace)
    support.wait_serving(api, namespace)


def test_invalid_for_engine(api: Api, namespace: str, shared: OperatorProcess) -> None:
    support.put(api, support.server(namespace, engineArgs={"kvCacheDtype": "fp8_inc"}))
    support.wait_stalled(api, namespace, "chat", "InvalidForEngine", words="spec.engineArgs.kvCacheDtype")
    mend(api, namespace)


def test_child_rejected_when_pods_are_refused(api: Api, namespace: str, shared: OperatorProcess) -> None:
    quota(api, namespace, pods="0")
    support.put(api, support.server(namespace))
    support.wait_stalled(api, namespace, "chat", "ChildRejected", words="exceeded quota: limit")
    api.delete("ResourceQuota", namespace, "limit")
    support.wait_serving(api, namespace)


@pytest.mark.parametrize(
    ("resource", "child"),
    [("services", "Service chat"), ("persistentvolumeclaims", "PersistentVolumeClaim chat-cache")],
)
def test_child_rejected_when_a_child_is_refused(
    api: Api, namespace: str, shared: OperatorProcess, resource: str, child: str
) -> None:
    quota(api, namespace, **{resource: "0"})
    support.put(api, support.server(namespace))
    words = f"{child} was refused by the API server"
    message = support.wait_stalled(api, namespace, "chat", "ChildRejected", words=words)
    assert "exceeded quota: limit" in message
    api.delete("ResourceQuota", namespace, "limit")
    touch(api, namespace)
    support.wait_serving(api, namespace)


def test_cache_unbound_without_such_a_class(api: Api, namespace: str, shared: OperatorProcess) -> None:
    cache = {"size": "50Gi", "storageClassName": "no-such-class"}
    support.put(api, support.server(namespace, cache=cache))
    message = support.wait_reconciling(api, namespace, "chat", "CacheUnbound", words="chat-cache")
    assert f"kubectl -n {namespace} describe pvc chat-cache" in message
    # Class and claim cannot change: the way out is another claim.
    api.create(manifests.claim(namespace, "other", "wait"))
    support.put(api, support.server(namespace, cache={"claimName": "other"}))
    support.wait_serving(api, namespace)


def test_cache_unbound_without_such_a_claim(api: Api, namespace: str, shared: OperatorProcess) -> None:
    support.put(api, support.server(namespace, cache={"claimName": "weights"}))
    words = "Claim weights does not exist"
    support.wait_reconciling(api, namespace, "chat", "CacheUnbound", words=words)
    api.create(manifests.claim(namespace, "weights", "wait"))
    support.wait_serving(api, namespace)


def test_image_pull_failed(api: Api, namespace: str, shared: OperatorProcess) -> None:
    support.put(api, support.server(namespace, life="image-pull"))
    words = "docker.io/vllm/vllm-openai-cpu"
    message = support.wait_reconciling(api, namespace, "chat", "ImagePullFailed", words=words)
    assert "spec.imagePullSecrets" in message
    mend(api, namespace)


def test_unschedulable(api: Api, namespace: str, shared: OperatorProcess) -> None:
    support.put(api, support.server(namespace, resources={"limits": {"cpu": 1000}}))
    support.wait_reconciling(api, namespace, "chat", "Unschedulable", words="Insufficient cpu")
    mend(api, namespace)


def test_crash_looping(api: Api, namespace: str, shared: OperatorProcess) -> None:
    support.put(api, support.server(namespace, life="crash", message=LAST_WORDS))
    words = f"Container ended with exit code 2: {LAST_WORDS}."
    message = support.wait_reconciling(api, namespace, "chat", "CrashLooping", words=words)
    (pod,) = api.list("Pod", namespace)
    assert f"kubectl -n {namespace} logs {pod['metadata']['name']} --previous" in message
    assert manifests.first_container(pod)["lastState"]["terminated"]["message"] == LAST_WORDS
    mend(api, namespace)


def test_warming_up(api: Api, namespace: str, shared: OperatorProcess) -> None:
    support.put(api, support.server(namespace, life="never-ready"))
    message = support.wait_reconciling(api, namespace, "chat", "WarmingUp", words="loads the model since")
    (pod,) = api.list("Pod", namespace)
    assert manifests.first_container(pod)["state"]["running"]["startedAt"] in message
    mend(api, namespace)


def test_rolling_out(api: Api, namespace: str, shared: OperatorProcess) -> None:
    created = support.put(api, support.server(namespace, life="slow"))
    support.wait_serving(api, namespace)
    states = support.history(api, "VLLMServer", namespace, created, manifests.is_ready)
    told = [condition(obj, "Ready").get("reason") for obj in states]
    assert told[0] == "RollingOut", told
    assert told.count("RollingOut") + told.count("WarmingUp") == len(told) - 1, told
    assert told[-1] == "Serving"
    # A replica that is still missing later on is no rollout of a revision: Ready stays, Available tells.
    wide = support.server(namespace, "wide", resources={"limits": {"cpu": 20}}, cache={"claimName": "shared"})
    api.create(manifests.claim(namespace, "shared", "wait"))
    support.put(api, wide)
    support.wait_serving(api, namespace, "wide")
    api.scale("VLLMServer", namespace, "wide", 3)
    words = "2 of 3 replicas answer"
    obj = support.wait_condition(api, namespace, "wide", "RollingOut", "False", kind="Available", words=words)
    assert condition(obj, "Ready")["status"] == "True"


def test_suspended(api: Api, namespace: str, shared: OperatorProcess) -> None:
    support.put(api, support.server(namespace, replicas=0))
    obj = support.wait_condition(api, namespace, "chat", "Suspended", "True")
    line = f"kubectl -n {namespace} scale vllm/chat --replicas=1"
    assert line in condition(obj, "Ready")["message"]
    assert condition(obj, "Available")["status"] == "False"
    api.scale("VLLMServer", namespace, "chat", 1)
    support.wait_serving(api, namespace)
    api.scale("VLLMServer", namespace, "chat", 0)
    support.wait_condition(api, namespace, "chat", "Suspended", "True")
    assert api.list("Pod", namespace) == []


def test_serving(api: Api, namespace: str, shared: OperatorProcess) -> None:
    support.put(api, support.server(namespace, replicas=2))
    obj: Object = support.wait_serving(api, namespace)
    assert obj["status"]["readyReplicas"] == 2
    assert not condition(obj, "Reconciling")
    assert not condition(obj, "Stalled")
    assert [manifests.is_ready(pod) for pod in api.list("Pod", namespace)] == [True, True]

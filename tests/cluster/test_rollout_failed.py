"""A rollout that misses its deadline; a test of its own file, for a deadline is at least a minute long."""

from tests.cluster import support
from tests.harness.api import Api, Object, condition
from tests.harness.operator import OperatorProcess

DEADLINE: Object = {"warmup": {"timeoutSeconds": 60}, "rollout": {"progressDeadlineSeconds": 60}}
SHARED_CACHE = {"size": "50Gi", "accessModes": ["ReadWriteMany"]}


def reason(obj: Object) -> object:
    return condition(obj, "Ready").get("reason")


def test_a_rollout_that_misses_its_deadline(api: Api, namespace: str, shared: OperatorProcess) -> None:
    support.put(api, support.server(namespace, cache=SHARED_CACHE, **DEADLINE))
    support.wait_serving(api, namespace)
    support.put(api, support.server(namespace, life="crash", cache=SHARED_CACHE, **DEADLINE))
    support.wait_reconciling(api, namespace, "chat", "CrashLooping")
    api.wait_object("VLLMServer", namespace, "chat", lambda obj: reason(obj) == "RolloutFailed", timeout=120)
    words = "go back to the spec as it was. CrashLooping: Container ended with exit code 2"
    message = support.wait_stalled(api, namespace, "chat", "RolloutFailed", words=words)
    assert "--previous`" in message
    obj = support.child(api, namespace, "VLLMServer", "chat")
    assert condition(obj, "Available")["status"] == "True", "the pod of the revision before serves on"
    # The way back: the spec as it was, or any other. Nothing of the failure is told of it.
    edited = support.put(api, support.server(namespace, life="slow", cache=SHARED_CACHE, **DEADLINE))
    support.wait_serving(api, namespace)
    generation = edited["metadata"]["generation"]
    states = support.history(
        api, "VLLMServer", namespace, edited, lambda obj: obj["status"]["conditions"][0]["status"] == "True"
    )
    told = [reason(obj) for obj in states if obj["status"]["observedGeneration"] == generation]
    assert set(told) <= {"RollingOut", "WarmingUp", "Serving"}, told

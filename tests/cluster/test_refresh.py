"""A new operator's image and template: offered by the status, taken when `rollout.refresh` is edited."""

from tests.cluster import support
from tests.harness.api import Api
from tests.harness.audit import Audit
from tests.harness.operator import Cluster, OperatorProcess

NEWER = {
    "VLLM_OPERATOR_CPU_IMAGE": "registry.example/vllm-cpu:v0.32.1",
    "VLLM_OPERATOR_CPU_ENGINE": "vllm 0.32.1",
}
SHARED_CACHE = {"size": "50Gi", "accessModes": ["ReadWriteMany"]}


def test_a_refresh_takes_what_the_new_operator_would_make(
    cluster: Cluster, api: Api, namespace: str, audit: Audit
) -> None:
    with OperatorProcess(cluster, [namespace]) as first:
        support.put(api, support.server(namespace))
        before = support.wait_serving(api, namespace)
        assert before["status"]["refreshAvailable"] is False
        support.wait_at_rest(audit, first, namespace)
    deployment, mark = support.child(api, namespace, "Deployment", "chat"), audit.mark()
    with OperatorProcess(cluster, [namespace], NEWER) as second:
        offered = api.wait_object(
            "VLLMServer", namespace, "chat", lambda obj: obj["status"]["refreshAvailable"], timeout=60
        )
        assert offered["status"]["image"] == before["status"]["image"]
        support.wait_at_rest(audit, second, namespace)
        written = support.shown(audit.writes(second.user, since=mark))
        assert len(written) == 1, written
        assert "/vllmservers/chat/status" in written[0]
        assert support.child(api, namespace, "Deployment", "chat")["spec"] == deployment["spec"]

        support.put(api, support.server(namespace, rollout={"refresh": "2026-11"}))
        taken = support.wait_serving(api, namespace)
        assert taken["status"]["image"] == NEWER["VLLM_OPERATOR_CPU_IMAGE"]
        assert taken["status"]["refreshAvailable"] is False
        (pod,) = api.list("Pod", namespace)
        assert pod["spec"]["containers"][0]["image"] == NEWER["VLLM_OPERATOR_CPU_IMAGE"]
        # What has been taken is kept like anything else.
        support.put(api, support.server(namespace, rollout={"refresh": "2026-11"}, engineArgs={"seed": 1}))
        kept = support.wait_serving(api, namespace)
        assert kept["status"]["image"] == NEWER["VLLM_OPERATOR_CPU_IMAGE"]


def test_a_refresh_that_is_taken_back_before_it_is_through_leaves_the_old_revision(
    cluster: Cluster, api: Api, namespace: str
) -> None:
    """Such as by reverting the commit: the new image does not start."""
    old = support.server(namespace, life="slow", cache=SHARED_CACHE)
    with OperatorProcess(cluster, [namespace]):
        support.put(api, old)
        before = support.wait_serving(api, namespace)
        record = support.record(api, namespace)
        (pod,) = api.list("Pod", namespace)
    with OperatorProcess(cluster, [namespace], NEWER):
        support.put(api, old | {"spec": old["spec"] | {"rollout": {"refresh": "2026-11"}}})
        support.wait_condition(api, namespace, "chat", "WarmingUp", "False")
        support.put(api, old)
        after = support.wait_serving(api, namespace)
        assert after["status"]["image"] == before["status"]["image"]
        assert after["status"]["refreshAvailable"] is True
        assert support.record(api, namespace) == record
        assert support.child(api, namespace, "Pod", pod["metadata"]["name"])["status"]["phase"] == "Running"

"""An autoscaler sets the number of replicas, and the operator follows it."""

import json
import time
from functools import partial
from pathlib import Path

import pytest

from tests.cluster import support
from tests.cluster.kubectl import kubectl
from tests.harness.api import Api, Object, condition
from tests.harness.audit import Audit
from tests.harness.controlplane import ControlPlane
from tests.harness.metrics import CustomMetrics
from tests.harness.operator import Cluster, OperatorProcess

METRIC = "vllm:num_requests_waiting"
AT_ONCE = {
    "scaleUp": {"stabilizationWindowSeconds": 0},
    "scaleDown": {"stabilizationWindowSeconds": 0, "periodSeconds": 1},
}
REST_SECONDS = 4.0


def wait_autoscaled(api: Api, namespace: str, reason: str, status: str, words: str = "") -> Object:
    return support.wait_condition(api, namespace, "chat", reason, status, kind="Autoscaled", words=words)


def wait_replicas(api: Api, namespace: str, count: int) -> None:
    """Wait until the Deployment has so many replicas, and the server as many that answer."""

    def followed(server: Object) -> bool:
        return bool(server["spec"]["replicas"] == count and server["status"].get("readyReplicas", 0) == count)

    api.wait_object(
        "VLLMServer", namespace, "chat", followed, timeout=120, message=f"{count} replicas that answer"
    )
    assert support.child(api, namespace, "Deployment", "chat")["spec"]["replicas"] == count


def tells(value: int, autoscaler: Object) -> bool:
    """Whether an autoscaler's status shows a value of its metric."""
    (metric,) = autoscaler["status"]["currentMetrics"]
    return bool(metric.get("pods", {}).get("current", {}).get("averageValue") == str(value))


def written_specs(audit: Audit, operator: OperatorProcess, since: int = 0) -> list[str]:
    """Return what the operator wrote of servers beside their status."""
    writes = audit.writes(operator.user, since=since)
    return support.shown(each for each in writes if each.resource == "vllmservers" and not each.subresource)


def test_what_is_made_and_pruned(api: Api, namespace: str, shared: OperatorProcess) -> None:
    support.put(api, support.server(namespace, autoscaling={"maxReplicas": 4}))
    support.wait_serving(api, namespace)
    autoscaler = support.child(api, namespace, "HorizontalPodAutoscaler", "chat")
    spec, record = autoscaler["spec"], support.record(api, namespace)
    target = {"apiVersion": "vllm-operator.dev/v1alpha1", "kind": "VLLMServer", "name": "chat"}
    assert (spec["scaleTargetRef"], spec["minReplicas"], spec["maxReplicas"]) == (target, 1, 4)
    value = {"type": "AverageValue", "averageValue": "5"}
    assert spec["metrics"] == [{"type": "Pods", "pods": {"metric": {"name": METRIC}, "target": value}}]
    down = spec["behavior"]["scaleDown"]
    assert down["stabilizationWindowSeconds"] == 600
    assert down["policies"] == [{"type": "Pods", "value": 1, "periodSeconds": 300}]
    more = {"maxReplicas": 5, "target": {"metric": "vllm_num_requests_waiting", "averageValue": "1.5"}}
    support.put(api, support.server(namespace, autoscaling=more))

    def changed(obj: Object) -> bool:
        pods = obj["spec"]["metrics"][0]["pods"]
        seen = (obj["spec"]["maxReplicas"], pods["metric"]["name"], pods["target"]["averageValue"])
        return seen == (5, "vllm_num_requests_waiting", "1500m")

    api.wait_object("HorizontalPodAutoscaler", namespace, "chat", changed)
    api.patch("HorizontalPodAutoscaler", namespace, "chat", {"spec": {"maxReplicas": 9}})
    api.wait_object("HorizontalPodAutoscaler", namespace, "chat", changed)
    api.delete("HorizontalPodAutoscaler", namespace, "chat")
    uid = autoscaler["metadata"]["uid"]
    api.wait_object(
        "HorizontalPodAutoscaler",
        namespace,
        "chat",
        lambda obj: obj["metadata"]["uid"] != uid and changed(obj),
    )
    support.put(api, support.server(namespace))
    api.wait_gone("HorizontalPodAutoscaler", namespace, "chat")
    assert not condition(support.wait_serving(api, namespace), "Autoscaled")
    assert support.record(api, namespace) == record


def test_who_scales_is_followed_and_never_fought(
    api: Api, namespace: str, shared: OperatorProcess, audit: Audit
) -> None:
    """There are no metrics here: the real controller changes nothing, and somebody scales in its place."""
    written = support.server(namespace, autoscaling={"maxReplicas": 3})
    support.put(api, written)
    support.wait_serving(api, namespace)
    wait_autoscaled(api, namespace, "MetricUnavailable", "False", "custom.metrics.k8s.io")
    mark, record = audit.mark(), support.record(api, namespace)
    for count in (2, 3, 1, 2):
        api.scale("VLLMServer", namespace, "chat", count)
        wait_replicas(api, namespace, count)
    # Git applies what it knows once more, which says nothing of replicas.
    support.put(api, written)
    support.wait_at_rest(audit, shared, namespace)
    wait_replicas(api, namespace, 2)
    assert written_specs(audit, shared, mark) == []
    assert support.record(api, namespace) == record
    mark = audit.mark()
    time.sleep(REST_SECONDS)
    support.put(api, written)
    time.sleep(REST_SECONDS)
    assert support.shown(audit.writes(shared.user, namespace, since=mark)) == []


@pytest.mark.parametrize("side", [[], ["--server-side"]], ids=["client-side", "server-side"])
def test_a_file_without_replicas_never_sets_them(
    cluster: Cluster, namespace: str, shared: OperatorProcess, tmp_path: Path, side: list[str]
) -> None:
    api = cluster.api
    file = tmp_path / "chat.yaml"
    file.write_text(json.dumps(support.server(namespace, autoscaling={"maxReplicas": 3})))
    kubectl(cluster, namespace, "apply", *side, "-f", str(file))
    wait_replicas(api, namespace, 1)
    api.scale("VLLMServer", namespace, "chat", 2)
    wait_replicas(api, namespace, 2)
    kubectl(cluster, namespace, "apply", *side, "-f", str(file))
    assert support.child(api, namespace, "VLLMServer", "chat")["spec"]["replicas"] == 2


def test_a_file_that_takes_its_number_back_leaves_that_of_others(
    api: Api, namespace: str, shared: OperatorProcess
) -> None:
    """Where nobody else has set one, the default is left."""
    silent = support.server(namespace, autoscaling={"maxReplicas": 3})
    numbered = support.server(namespace, autoscaling={"maxReplicas": 3}, replicas=2)
    support.put(api, numbered)
    assert support.put(api, silent)["spec"]["replicas"] == 1
    support.put(api, numbered)
    api.scale("VLLMServer", namespace, "chat", 3)
    assert support.put(api, silent)["spec"]["replicas"] == 3
    wait_replicas(api, namespace, 3)


def test_a_suspended_server_stays_suspended(api: Api, namespace: str, shared: OperatorProcess) -> None:
    support.put(api, support.server(namespace, replicas=0, autoscaling={"minReplicas": 2, "maxReplicas": 3}))
    server = wait_autoscaled(api, namespace, "Suspended", "False", "scale vllm/chat --replicas=1")
    assert server["spec"]["replicas"] == 0
    assert condition(server, "Ready")["reason"] == "Suspended"
    # One is fewer than the least, which takes no metric to see.
    api.scale("VLLMServer", namespace, "chat", 1)
    wait_replicas(api, namespace, 2)


def test_an_autoscaler_that_is_refused_keeps_nobody_from_serving(
    api: Api, namespace: str, shared: OperatorProcess
) -> None:
    quota = {"hard": {"count/horizontalpodautoscalers.autoscaling": "0"}}
    metadata = {"name": "none", "namespace": namespace}
    api.create({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": metadata, "spec": quota})
    api.wait_object("ResourceQuota", namespace, "none", lambda obj: obj.get("status", {}).get("hard"))
    support.put(api, support.server(namespace, autoscaling={"maxReplicas": 3}))
    support.wait_serving(api, namespace)
    wait_autoscaled(api, namespace, "ChildRejected", "False", "exceeded quota: none")
    assert api.get("HorizontalPodAutoscaler", namespace, "chat") is None


def test_the_queue_scales_a_server(
    api: Api, namespace: str, cluster: Cluster, shared: OperatorProcess, audit: Audit
) -> None:
    """Kubernetes' own autoscaler asks the custom metrics API, and scales the server up and down."""
    if not isinstance(cluster, ControlPlane):
        pytest.fail("this test registers an API on loopback: it cannot run with --kubeconfig")
    with CustomMetrics(api, cluster.folder / "pki", namespace, METRIC) as metrics:
        mark = audit.mark()
        support.put(api, support.server(namespace, autoscaling={"maxReplicas": 3} | AT_ONCE))
        support.wait_serving(api, namespace)
        wait_autoscaled(api, namespace, "Autoscaling", "True", f"From 1 to 3 replicas, by {METRIC}")
        record = support.record(api, namespace)
        metrics.value = 20
        wait_replicas(api, namespace, 3)
        metrics.value = 0
        wait_replicas(api, namespace, 1)
        support.wait_at_rest(audit, shared, namespace)
        support.wait_serving(api, namespace)
        assert support.record(api, namespace) == record
        assert written_specs(audit, shared, mark) == []
        # The autoscaler writes its status for each new value, and nobody follows that.
        mark = audit.mark()
        for value in (1, 2, 3):
            metrics.value = value
            api.wait_object("HorizontalPodAutoscaler", namespace, "chat", partial(tells, value))
        time.sleep(REST_SECONDS)
        assert support.shown(audit.writes(shared.user, namespace, since=mark)) == []

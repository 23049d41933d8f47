"""A PodMonitor of each server that asks for one, in clusters that know the kind and in those that do not."""

import time
from collections.abc import Iterator

import pytest

from tests.cluster import support
from tests.harness import monitoring
from tests.harness.api import Api, Object, condition
from tests.harness.audit import Audit
from tests.harness.operator import Cluster, OperatorProcess

ASKED = {"podMonitor": {"labels": {"release": "prometheus"}}}
KIND = {"apiVersion": "monitoring.coreos.com/v1", "kind": "PodMonitor"}
LONGER_THAN_A_LOOK = 90.0
"""Seconds in which an operator looks again for a kind that was missing, however busy the machine is."""


@pytest.fixture
def unknown(api: Api) -> Iterator[None]:
    """The cluster does not know the kind, neither before the test nor after it."""
    monitoring.remove(api)
    yield
    monitoring.remove(api)


@pytest.fixture
def known(api: Api, unknown: None) -> None:
    """The cluster knows the kind."""
    monitoring.install(api)


def wait_monitored(api: Api, namespace: str, reason: str, status: str, words: str = "") -> Object:
    return support.wait_condition(api, namespace, "chat", reason, status, kind="Monitored", words=words)


def asked(audit: Audit, operator: OperatorProcess, since: int = 0) -> list[str]:
    """Return the operator's requests about PodMonitors."""
    requests = audit.requests(operator.user, since=since)
    return support.shown(each for each in requests if each.resource == monitoring.PLURAL)


def test_who_asks_for_one_has_one(api: Api, namespace: str, known: None, operator: OperatorProcess) -> None:
    support.put(api, support.server(namespace, monitoring=ASKED))
    support.wait_serving(api, namespace)
    wait_monitored(api, namespace, "Monitored", "True")
    monitor = support.child(api, namespace, "PodMonitor", "chat")
    selector = {"vllm-operator.dev/server": "chat", "app.kubernetes.io/component": "server"}
    endpoint = {"port": "http", "path": "/metrics", "interval": "30s"}
    assert monitor["spec"] == {
        "selector": {"matchLabels": selector},
        "podMetricsEndpoints": [endpoint],
        "podTargetLabels": ["vllm-operator.dev/server"],
    }
    assert monitor["metadata"]["labels"]["release"] == "prometheus"
    labels = ",".join(f"{key}={value}" for key, value in selector.items())
    (pod,) = api.list("Pod", namespace, labels=labels)
    ports = {port["name"]: port["containerPort"] for port in pod["spec"]["containers"][0]["ports"]}
    assert ports["http"] == 8000
    record = support.record(api, namespace)
    support.put(api, support.server(namespace, monitoring={"podMonitor": {"interval": "1m"}}))
    slower = [endpoint | {"interval": "1m"}]
    api.wait_object("PodMonitor", namespace, "chat", lambda obj: obj["spec"]["podMetricsEndpoints"] == slower)
    assert "release" not in support.child(api, namespace, "PodMonitor", "chat")["metadata"]["labels"]
    support.put(api, support.server(namespace))
    api.wait_gone("PodMonitor", namespace, "chat")
    gone = support.wait_serving(api, namespace)
    assert not condition(gone, "Monitored")
    assert support.record(api, namespace) == record


def test_a_cluster_without_the_kind_says_so_and_serves(
    api: Api, namespace: str, unknown: None, operator: OperatorProcess, audit: Audit
) -> None:
    support.put(api, support.server(namespace, monitoring=ASKED))
    server = support.wait_serving(api, namespace)
    assert condition(server, "Monitored")["status"] == "False"
    words = "install the Prometheus Operator"
    wait_monitored(api, namespace, "PodMonitorNotInstalled", "False", words)
    support.wait_at_rest(audit, operator, namespace)
    mark = audit.mark()
    # The kind comes, and goes, and nobody starts the operator anew.
    monitoring.install(api)
    api.wait_object("PodMonitor", namespace, "chat", timeout=LONGER_THAN_A_LOOK)
    wait_monitored(api, namespace, "Monitored", "True")
    lists = [each for each in asked(audit, operator, mark) if each.startswith("list")]
    assert len(lists) <= 4, lists
    monitoring.remove(api)
    # A server that is looked at finds its PodMonitor's kind gone, and goes on.
    support.put(api, support.server(namespace, monitoring={"podMonitor": {"interval": "1m"}}, replicas=2))
    server = support.wait_serving(api, namespace)
    assert condition(server, "Monitored")["status"] == "False"
    support.wait_condition(
        *(api, namespace, "chat", "PodMonitorNotInstalled", "False"), kind="Monitored", words=words
    )
    assert support.refused(audit, operator) == []


def test_nobody_asks_and_nothing_is_asked(
    api: Api, namespace: str, known: None, operator: OperatorProcess, audit: Audit
) -> None:
    support.put(api, support.server(namespace))
    support.wait_serving(api, namespace)
    support.wait_at_rest(audit, operator, namespace)
    assert len(asked(audit, operator)) == 1  # at the start, for one that nobody wants any more


def test_what_was_left_while_no_operator_ran_is_mended(
    api: Api, namespace: str, known: None, operator: OperatorProcess, audit: Audit
) -> None:
    """One that is not wanted any more goes, one that was edited is put back, one that an older operator has
    made gets what is new, others are left alone.
    """
    for name in ("chat", "edited", "older", "same"):
        support.put(api, support.server(namespace, name, monitoring=ASKED))
    for name in ("chat", "edited", "older", "same"):
        support.wait_serving(api, namespace, name)
        api.wait_object("PodMonitor", namespace, name)
    support.wait_at_rest(audit, operator, namespace)
    operator.stop()
    support.put(api, support.server(namespace))
    api.patch("PodMonitor", namespace, "edited", {"spec": {"podMetricsEndpoints": [{"port": "other"}]}})
    older = support.child(api, namespace, "PodMonitor", "older")
    asked_then = {key: value for key, value in older["spec"].items() if key != "podTargetLabels"}
    metadata = {key: older["metadata"][key] for key in ("name", "namespace", "labels", "ownerReferences")}
    before = api.apply({**KIND, "metadata": metadata, "spec": asked_then}, manager="vllm-operator")
    assert "podTargetLabels" not in before["spec"]
    same = support.child(api, namespace, "PodMonitor", "same")
    mark = audit.mark()
    operator.start()
    api.wait_gone("PodMonitor", namespace, "chat")

    def mended(monitor: Object) -> bool:
        return bool(monitor["spec"]["podMetricsEndpoints"][0]["port"] == "http")

    api.wait_object("PodMonitor", namespace, "edited", mended)
    api.wait_object("PodMonitor", namespace, "older", lambda obj: obj["spec"] == older["spec"])
    support.wait_at_rest(audit, operator, namespace)
    assert support.child(api, namespace, "PodMonitor", "same") == same
    assert len([each for each in asked(audit, operator, mark) if each.startswith("list")]) == 1
    mark = audit.mark()
    time.sleep(3)
    assert asked(audit, operator, mark) == []


def test_one_that_went_unseen_is_made_anew_by_the_next_edit(
    api: Api, namespace: str, known: None, operator: OperatorProcess
) -> None:
    support.put(api, support.server(namespace, replicas=2, monitoring=ASKED))
    support.wait_serving(api, namespace)
    wait_monitored(api, namespace, "Monitored", "True")
    api.delete("PodMonitor", namespace, "chat")
    api.wait_gone("PodMonitor", namespace, "chat")
    support.put(api, support.server(namespace, monitoring={"podMonitor": {"interval": "1m"}}))
    support.wait_serving(api, namespace)
    api.wait_object("PodMonitor", namespace, "chat")
    api.wait_gone("PodDisruptionBudget", namespace, "chat")
    wait_monitored(api, namespace, "Monitored", "True")


def test_a_blocked_server_keeps_what_is_said_of_the_rest(
    api: Api, namespace: str, unknown: None, operator: OperatorProcess
) -> None:
    support.put(api, support.server(namespace, monitoring=ASKED))
    support.wait_serving(api, namespace)
    wait_monitored(api, namespace, "PodMonitorNotInstalled", "False")
    stranger = {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "chat", "namespace": namespace},
        "spec": {
            "maxReplicas": 2,
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "other"},
        },
    }
    api.create(stranger)
    scaled, grown = {"maxReplicas": 2}, {"size": "60Gi"}
    support.put(api, support.server(namespace, monitoring=ASKED, autoscaling=scaled, cache=grown))
    support.wait_stalled(api, namespace, "chat", "ChildRejected", words="PersistentVolumeClaim")
    support.wait_condition(api, namespace, "chat", "NotOwned", "False", kind="Autoscaled")
    wait_monitored(api, namespace, "PodMonitorNotInstalled", "False")


def test_a_stranger_of_that_name_is_left_alone(
    api: Api, namespace: str, known: None, operator: OperatorProcess
) -> None:
    stranger = {
        **KIND,
        "metadata": {"name": "chat", "namespace": namespace},
        "spec": {"selector": {"matchLabels": {"a": "b"}}},
    }
    before = api.create(stranger)
    support.put(api, support.server(namespace, monitoring=ASKED))
    support.wait_serving(api, namespace)
    wait_monitored(api, namespace, "NotOwned", "False", "PodMonitor chat exists")
    assert support.child(api, namespace, "PodMonitor", "chat") == before


def test_an_operator_without_the_right_says_so(
    api: Api, namespace: str, known: None, cluster: Cluster
) -> None:
    with OperatorProcess(cluster, [namespace], without=[monitoring.PLURAL]):
        support.put(api, support.server(namespace, monitoring=ASKED))
        support.wait_serving(api, namespace)
        wait_monitored(
            api, namespace, "ChildRejected", "False", "podmonitors.monitoring.coreos.com is forbidden"
        )
        assert api.get("PodMonitor", namespace, "chat") is None

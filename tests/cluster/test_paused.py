"""While a server is paused nothing is written but its status; resumed, everything is made up for."""

from typing import Any

import pytest

from tests.cluster import support
from tests.cluster.kubectl import follow
from tests.harness.api import Api, Object, condition
from tests.harness.audit import Audit
from tests.harness.operator import Cluster, OperatorProcess


def paused(namespace: str, **spec: Any) -> Object:
    return support.server(namespace, paused=True, **spec)


def written(audit: Audit, operator: OperatorProcess, namespace: str, since: int) -> set[str]:
    """Return what was written, but for the status of the server and the Events about it."""
    support.wait_at_rest(audit, operator, namespace)
    found = audit.writes(operator.user, namespace, since=since)
    return {
        "/".join((each.verb, each.resource, each.name))
        for each in found
        if (each.resource, each.subresource) != ("vllmservers", "status") and each.resource != "events"
    }


@pytest.fixture
def serving(api: Api, namespace: str, shared: OperatorProcess) -> dict[support.Ref, Object]:
    support.put(api, support.server(namespace, replicas=2))
    support.wait_serving(api, namespace)
    return support.children(api, namespace)


def test_a_pause_of_what_serves(
    *, cluster: Cluster, api: Api, namespace: str, serving: object, shared: OperatorProcess, audit: Audit
) -> None:
    mark = audit.mark()
    support.put(api, paused(namespace, replicas=2))
    obj = support.wait_condition(api, namespace, "chat", "Paused", "True", words="Serves at")
    assert not condition(obj, "Stalled")
    assert written(audit, shared, namespace, mark) == set()
    follow(cluster, condition(obj, "Ready")["message"], "patch vllm")
    support.wait_serving(api, namespace)
    assert written(audit, shared, namespace, mark) == set()


def test_edits_wait_until_it_is_resumed(
    *,
    cluster: Cluster,
    api: Api,
    namespace: str,
    serving: dict[support.Ref, Object],
    shared: OperatorProcess,
    audit: Audit,
) -> None:
    mark, before = audit.mark(), support.versions(serving)
    support.put(api, paused(namespace, replicas=1, engineArgs={"seed": 1}, service={"port": 80}))
    words = "Service chat, Deployment chat. Resume: "
    message = support.wait_stalled(api, namespace, "chat", "Paused", words=words)
    assert "To make or change: ControllerRevision chat-" in message
    assert written(audit, shared, namespace, mark) == set()
    assert support.versions(support.children(api, namespace)) == before
    follow(cluster, message, "patch vllm")
    support.wait_serving(api, namespace)
    api.wait_gone("PodDisruptionBudget", namespace, "chat")
    assert support.child(api, namespace, "Service", "chat")["spec"]["ports"][0]["port"] == 80


def test_what_others_do_is_mended_after_the_pause_only(
    *, cluster: Cluster, api: Api, namespace: str, serving: object, shared: OperatorProcess, audit: Audit
) -> None:
    support.put(api, paused(namespace, replicas=2))
    support.wait_condition(api, namespace, "chat", "Paused", "True")
    mark = audit.mark()
    api.delete("Service", namespace, "chat")
    support.wait_stalled(api, namespace, "chat", "Paused", words="To make or change: Service chat. Resume")
    api.patch("Deployment", namespace, "chat", {"spec": {"progressDeadlineSeconds": 60}})
    message = support.wait_stalled(
        api, namespace, "chat", "Paused", words="To make or change: Service chat, Deployment chat. Resume"
    )
    assert written(audit, shared, namespace, mark) == set()
    assert api.get("Service", namespace, "chat") is None
    obj = support.child(api, namespace, "VLLMServer", "chat")
    assert condition(obj, "Available")["status"] == "True", "the pods run on"
    follow(cluster, message, "patch vllm")
    support.wait_serving(api, namespace)
    assert support.child(api, namespace, "Deployment", "chat")["spec"]["progressDeadlineSeconds"] == 9000
    support.child(api, namespace, "Service", "chat")


def test_a_server_that_is_paused_while_it_warms_up(api: Api, namespace: str, shared: OperatorProcess) -> None:
    support.put(api, support.server(namespace, life="slow"))
    support.wait_reconciling(api, namespace, "chat", "WarmingUp")
    support.put(api, paused(namespace, life="slow"))
    support.wait_condition(api, namespace, "chat", "Paused", "True", words="Serves at")


def test_a_server_that_is_paused_from_the_beginning(
    cluster: Cluster, api: Api, namespace: str, shared: OperatorProcess
) -> None:
    support.put(api, paused(namespace))
    words = "ServiceAccount chat-vllm, PersistentVolumeClaim chat-cache, ControllerRevision chat-"
    message = support.wait_stalled(api, namespace, "chat", "Paused", words=words)
    assert support.children(api, namespace) == {}
    follow(cluster, message, "patch vllm")
    support.wait_serving(api, namespace)

"""What others do to the children: deletions and edits are mended, what is theirs is left to them."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.cluster import support
from tests.harness.api import Api, Object
from tests.harness.audit import Audit
from tests.harness.operator import OperatorProcess

SERVER_LABEL, MANAGED_BY = support.SERVER_LABEL, "app.kubernetes.io/managed-by"


@pytest.fixture
def serving(api: Api, namespace: str, shared: OperatorProcess) -> Object:
    support.put(api, support.server(namespace))
    return support.wait_serving(api, namespace)


def pods(api: Api, namespace: str) -> set[str]:
    return {pod["metadata"]["uid"] for pod in api.list("Pod", namespace)}


@pytest.mark.parametrize("kind", ["ServiceAccount", "Service", "ControllerRevision", "Deployment"])
def test_a_deleted_child_comes_back(api: Api, namespace: str, serving: Object, kind: str) -> None:
    before, running = support.children(api, namespace), pods(api, namespace)
    ((_, name),) = (ref for ref in before if ref[0] == kind)
    uid = before[kind, name]["metadata"]["uid"]
    api.delete(kind, namespace, name, propagation="Background")
    api.wait_object(kind, namespace, name, lambda obj: obj["metadata"]["uid"] != uid, timeout=60)
    support.wait_serving(api, namespace)
    after = support.children(api, namespace)
    assert set(after) == set(before)
    assert after[kind, name].get("spec") == before[kind, name].get("spec") or kind == "Service"
    assert after[kind, name].get("data") == before[kind, name].get("data")
    if kind != "Deployment":
        deployment = ("Deployment", "chat")
        assert after[deployment]["metadata"]["generation"] == before[deployment]["metadata"]["generation"]
        assert pods(api, namespace) == running


def test_a_claim_that_is_deleted_while_pods_use_it_is_left_alone(
    api: Api, namespace: str, serving: Object, shared: OperatorProcess, audit: Audit
) -> None:
    before = audit.mark()
    api.delete("PersistentVolumeClaim", namespace, "chat-cache")
    claim = support.child(api, namespace, "PersistentVolumeClaim", "chat-cache")
    assert "deletionTimestamp" in claim["metadata"]
    support.wait_at_rest(audit, shared, namespace)
    assert audit.writes(shared.user, namespace, since=before) == []
    # Its protection ends with the last pod; the next pod then finds a new claim.
    api.scale("VLLMServer", namespace, "chat", 0)
    uid = claim["metadata"]["uid"]
    api.wait_object(
        "PersistentVolumeClaim",
        namespace,
        "chat-cache",
        lambda obj: obj["metadata"]["uid"] != uid,
        timeout=60,
    )
    api.scale("VLLMServer", namespace, "chat", 1)
    support.wait_serving(api, namespace)


EDITS: dict[str, tuple[str, str, Object, Callable[[Object], Any], Any]] = {
    "port": (
        "Service",
        "chat",
        {"spec": {"ports": [{"name": "http", "port": 8008, "targetPort": "other"}]}},
        lambda obj: [port["targetPort"] for port in obj["spec"]["ports"]],
        ["http"],
    ),
    "selector": (
        "Service",
        "chat",
        {"spec": {"selector": {SERVER_LABEL: "other"}}},
        lambda obj: obj["spec"]["selector"][SERVER_LABEL],
        "chat",
    ),
    "token": (
        "ServiceAccount",
        "chat-vllm",
        {"automountServiceAccountToken": True},
        lambda obj: obj["automountServiceAccountToken"],
        False,
    ),
    "deadline": (
        "Deployment",
        "chat",
        {"spec": {"progressDeadlineSeconds": 60}},
        lambda obj: obj["spec"]["progressDeadlineSeconds"],
        9000,
    ),
    "label": (
        "Service",
        "chat",
        {"metadata": {"labels": {"app.kubernetes.io/instance": "other"}}},
        lambda obj: obj["metadata"]["labels"]["app.kubernetes.io/instance"],
        "chat",
    ),
    "watched label removed": (
        "Service",
        "chat",
        {"metadata": {"labels": {MANAGED_BY: None}}},
        lambda obj: obj["metadata"]["labels"].get(MANAGED_BY),
        "vllm-operator",
    ),
    "server label removed": (
        "ServiceAccount",
        "chat-vllm",
        {"metadata": {"labels": {SERVER_LABEL: None}}},
        lambda obj: obj["metadata"]["labels"].get(SERVER_LABEL),
        "chat",
    ),
    "server label of another": (
        "Deployment",
        "chat",
        {"metadata": {"labels": {SERVER_LABEL: "another"}}},
        lambda obj: obj["metadata"]["labels"].get(SERVER_LABEL),
        "chat",
    ),
    "claim label": (
        "PersistentVolumeClaim",
        "chat-cache",
        {"metadata": {"labels": {"app.kubernetes.io/component": "other"}}},
        lambda obj: obj["metadata"]["labels"]["app.kubernetes.io/component"],
        "server",
    ),
}


@pytest.mark.parametrize("edit", EDITS)
def test_an_edited_child_is_restored(api: Api, namespace: str, serving: Object, edit: str) -> None:
    kind, name, body, read, wanted = EDITS[edit]
    before = support.child(api, namespace, kind, name)
    assert read(before) == wanted
    edited = api.patch(kind, namespace, name, body)
    assert read(edited) != wanted
    api.wait_object(kind, namespace, name, lambda obj: read(obj) == wanted, message=f"{edit} restored")
    assert support.child(api, namespace, kind, name)["metadata"]["uid"] == before["metadata"]["uid"]


def test_another_port_in_our_ports_place_is_replaced(api: Api, namespace: str, serving: Object) -> None:
    """Ports are known by their number: an apply alone would put ours beside the stranger's."""
    before = support.child(api, namespace, "Service", "chat")
    ports = [{"name": "http", "port": 9999, "targetPort": "http"}]
    for own in (8008, 8009):
        api.patch("VLLMServer", namespace, "chat", {"spec": {"service": {"port": own}}})
        api.patch("Service", namespace, "chat", {"spec": {"ports": ports}})

        def restored(service: Object, own: int = own) -> bool:
            return [port["port"] for port in service["spec"]["ports"]] == [own]

        api.wait_object("Service", namespace, "chat", restored, message=f"only port {own} is left")
    after = support.child(api, namespace, "Service", "chat")
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    assert after["spec"]["clusterIP"] == before["spec"]["clusterIP"]


def test_an_edited_template_is_restored(api: Api, namespace: str, serving: Object) -> None:
    path = f"/apis/apps/v1/namespaces/{namespace}/deployments/chat"
    (image,) = (c["image"] for c in _template(api, namespace)["spec"]["containers"])
    operations = [{"op": "replace", "path": "/spec/template/spec/containers/0/image", "value": "evil:1"}]
    api.request("PATCH", path, operations, "application/json-patch+json")

    def restored(deployment: Object) -> bool:
        (container,) = deployment["spec"]["template"]["spec"]["containers"]
        return bool(container["image"] == image)

    api.wait_object("Deployment", namespace, "chat", restored, message="the image is restored")
    support.wait_serving(api, namespace)


def _template(api: Api, namespace: str) -> Object:
    template: Object = support.child(api, namespace, "Deployment", "chat")["spec"]["template"]
    return template


def test_what_others_add_stays(
    api: Api, namespace: str, serving: Object, shared: OperatorProcess, audit: Audit
) -> None:
    """Labels, an annotation as of `kubectl rollout restart`, and an annotation of the cluster's own."""
    before, mark = pods(api, namespace), audit.mark()
    extra = {"metadata": {"labels": {"team": "a"}, "annotations": {"cost": "b"}}}
    for kind, name in support.children(api, namespace):
        api.patch(kind, namespace, name, extra)
    restart = {"kubectl.kubernetes.io/restartedAt": "2026-01-01T00:00:00Z"}
    api.patch("Deployment", namespace, "chat", {"spec": {"template": {"metadata": {"annotations": restart}}}})
    api.wait_for(
        lambda: pods(api, namespace) and not pods(api, namespace) & before,
        timeout=60,
        message="the restart has replaced the pod",
    )
    support.wait_serving(api, namespace)
    support.wait_at_rest(audit, shared, namespace)
    for ref, obj in support.children(api, namespace).items():
        assert obj["metadata"]["labels"]["team"] == "a", ref
        assert obj["metadata"]["annotations"]["cost"] == "b", ref
    assert _template(api, namespace)["metadata"]["annotations"] == restart
    written = audit.writes(shared.user, namespace, since=mark)
    others = [each for each in written if (each.resource, each.subresource) != ("vllmservers", "status")]
    assert {each.resource for each in others} <= {"events"}, support.shown(others)


def test_another_managers_replica_count_is_left_alone(
    api: Api, namespace: str, serving: Object, shared: OperatorProcess, audit: Audit
) -> None:
    def deployment() -> Object:
        return support.child(api, namespace, "Deployment", "chat")

    def ready(count: int) -> None:
        api.wait_object(
            "VLLMServer",
            namespace,
            "chat",
            lambda obj: obj["status"].get("readyReplicas") == count,
            timeout=60,
            message=f"{count} ready replicas in the status",
        )

    mark = audit.mark()
    api.scale("Deployment", namespace, "chat", 3)
    ready(3)
    support.wait_at_rest(audit, shared, namespace)
    written = audit.writes(shared.user, namespace, since=mark)
    assert not [each for each in written if each.resource == "deployments"], support.shown(written)
    # An edit of something else is made, and still leaves the count alone.
    support.put(api, support.server(namespace, service={"port": 8080}, warmup={"timeoutSeconds": 600}))
    api.wait_object(
        "Deployment", namespace, "chat", lambda obj: obj["spec"]["progressDeadlineSeconds"] == 2400
    )
    support.wait_serving(api, namespace)
    assert deployment()["spec"]["replicas"] == 3
    # Back at the server's own number, the field is the server's again.
    api.scale("Deployment", namespace, "chat", 1)
    ready(1)
    support.wait_at_rest(audit, shared, namespace)
    api.scale("VLLMServer", namespace, "chat", 2)
    api.wait_object("Deployment", namespace, "chat", lambda obj: obj["spec"]["replicas"] == 2, timeout=30)
    ready(2)

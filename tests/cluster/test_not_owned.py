"""Objects that bear a child's name and are not ours, and servers that come back under the same name."""

import pytest

from tests.cluster import support
from tests.harness import manifests
from tests.harness.api import Api, Object
from tests.harness.audit import Audit
from tests.harness.operator import OperatorProcess

LABELS = {"app.kubernetes.io/managed-by": "vllm-operator", support.SERVER_LABEL: "chat"}


def stranger(namespace: str, kind: str) -> Object:
    """Return an object of a stranger with the name of a child."""
    metadata = {"namespace": namespace, "annotations": {"of": "a stranger"}}
    service = {"ports": [{"name": "http", "port": 80}], "selector": {"app": "other"}}
    if kind == "Deployment":
        return manifests.deployment(namespace, "chat", replicas=0)
    if kind == "PersistentVolumeClaim":
        return manifests.claim(namespace, "chat-cache", "wait")
    if kind == "Service":
        return {"apiVersion": "v1", "kind": kind, "metadata": metadata | {"name": "chat"}, "spec": service}
    return {"apiVersion": "v1", "kind": kind, "metadata": metadata | {"name": "chat-vllm"}}


@pytest.mark.parametrize("labelled", [False, True], ids=["plain", "with our labels"])
@pytest.mark.parametrize("kind", ["Service", "Deployment", "ServiceAccount", "PersistentVolumeClaim"])
def test_a_strangers_object_is_not_touched(
    *, api: Api, namespace: str, shared: OperatorProcess, audit: Audit, kind: str, labelled: bool
) -> None:
    obj = stranger(namespace, kind)
    if labelled:
        # A claim with our label and no owner is a retained one; this one belongs to somebody.
        owner = {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "controller": True}
        made = api.create(manifests.config_map(namespace, "owner", {}))
        obj["metadata"]["ownerReferences"] = [owner | {"uid": made["metadata"]["uid"]}]
        obj["metadata"]["labels"] = LABELS
    before = api.create(obj)
    name = obj["metadata"]["name"]
    support.put(api, support.server(namespace))
    message = support.wait_stalled(api, namespace, "chat", "NotOwned", words=f"{kind} {name}")
    assert f"kubectl -n {namespace} delete {kind.lower()} {name}" in message
    support.wait_at_rest(audit, shared, namespace)
    after = support.child(api, namespace, kind, name)
    if kind == "Deployment":  # its own controller writes its status
        assert after["spec"] == before["spec"]
        assert after["metadata"]["generation"] == before["metadata"]["generation"]
    else:
        assert after | {"kind": kind} == before
    managers = {each["manager"] for each in after["metadata"]["managedFields"]}
    assert support.MANAGER not in managers
    resource = f"{kind.lower()}s"
    assert not [each for each in audit.writes(shared.user, namespace) if each.resource == resource]


def test_it_goes_on_when_the_stranger_has_gone(api: Api, namespace: str, shared: OperatorProcess) -> None:
    api.create(stranger(namespace, "Service"))
    support.put(api, support.server(namespace))
    support.wait_stalled(api, namespace, "chat", "NotOwned")
    api.delete("Service", namespace, "chat")
    # Strangers are not watched; any word on the server makes the operator look again at once.
    api.patch("VLLMServer", namespace, "chat", {"metadata": {"annotations": {"look": "again"}}})
    support.wait_serving(api, namespace)


@pytest.mark.parametrize("labels", [{}, LABELS], ids=["plain", "with our labels"])
def test_a_strangers_record_is_not_touched(
    api: Api, namespace: str, shared: OperatorProcess, labels: dict[str, str]
) -> None:
    support.put(api, support.server(namespace))
    support.wait_serving(api, namespace)
    ((_, name),) = (ref for ref in support.children(api, namespace) if ref[0] == "ControllerRevision")
    api.delete("VLLMServer", namespace, "chat", propagation="Foreground")
    api.wait_gone("VLLMServer", namespace, "chat", timeout=60)
    metadata = {"name": name, "namespace": namespace, "labels": labels}
    foreign = {"apiVersion": "apps/v1", "kind": "ControllerRevision", "metadata": metadata, "revision": 7}
    api.wait_gone("ControllerRevision", namespace, name)
    before = api.create(foreign | {"data": {"not": "ours"}})
    support.put(api, support.server(namespace))
    support.wait_stalled(api, namespace, "chat", "NotOwned", words=f"ControllerRevision {name}")
    assert support.child(api, namespace, "ControllerRevision", name) | {"kind": foreign["kind"]} == before


def test_a_server_made_again_at_once_gets_children_of_its_own(
    api: Api, namespace: str, shared: OperatorProcess
) -> None:
    support.put(api, support.server(namespace))
    first = support.wait_serving(api, namespace)["metadata"]["uid"]
    old = support.children(api, namespace)
    api.delete("VLLMServer", namespace, "chat", propagation="Background")
    second = support.put(api, support.server(namespace))["metadata"]["uid"]
    assert second != first

    def renewed() -> bool:
        found = support.children(api, namespace)
        owners = {
            ref: [owner["uid"] for owner in obj["metadata"].get("ownerReferences", [])]
            for ref, obj in found.items()
        }
        claim = owners.pop(("PersistentVolumeClaim", "chat-cache"), None)
        return claim == [] and len(owners) == 4 and all(uids == [second] for uids in owners.values())

    api.wait_for(renewed, timeout=90, message="children of the second server")
    support.wait_serving(api, namespace)
    claim = ("PersistentVolumeClaim", "chat-cache")
    again = support.children(api, namespace)
    assert again[claim]["metadata"]["uid"] == old[claim]["metadata"]["uid"], "a retained claim is used again"

"""The cache's claim: given or made, kept or deleted, grown where its class allows it."""

import uuid
from collections.abc import Iterator
from functools import partial

import pytest

from tests.cluster import support
from tests.harness import equipment, manifests
from tests.harness.api import Api, Object
from tests.harness.audit import Audit
from tests.harness.operator import OperatorProcess

CLAIM = "PersistentVolumeClaim"


@pytest.mark.parametrize(("mode", "surge"), [("ReadWriteMany", 1), ("ReadWriteOnce", 0)])
def test_a_given_claims_access_mode_decides_whether_pods_surge(
    *, api: Api, namespace: str, shared: OperatorProcess, audit: Audit, mode: str, surge: int
) -> None:
    given = manifests.claim(namespace, "weights", "wait")
    given["spec"]["accessModes"] = [mode]
    uid = api.create(given)["metadata"]["uid"]
    support.put(api, support.server(namespace, cache={"claimName": "weights"}))
    support.wait_serving(api, namespace)
    assert (CLAIM, "chat-cache") not in support.children(api, namespace)
    spec = support.child(api, namespace, "Deployment", "chat")["spec"]
    assert spec["strategy"]["rollingUpdate"] == {"maxSurge": surge, "maxUnavailable": 1 - surge}
    pod = spec["template"]["spec"]
    assert {"name": "cache", "persistentVolumeClaim": {"claimName": "weights"}} in pod["volumes"]
    assert "fsGroup" not in pod["securityContext"], "a given claim keeps its files' owners"
    claim = support.child(api, namespace, CLAIM, "weights")
    assert claim["metadata"]["uid"] == uid
    assert support.MANAGER not in {each["manager"] for each in claim["metadata"]["managedFields"]}
    assert not [each for each in audit.writes(shared.user, namespace) if "claim" in each.resource]


def delete(api: Api, namespace: str) -> None:
    api.delete("VLLMServer", namespace, "chat", propagation="Foreground")
    api.wait_gone("VLLMServer", namespace, "chat", timeout=90)
    api.wait_for(lambda: not api.list("Pod", namespace), timeout=60, message="the pods are gone")


def test_a_retained_claim_is_found_again(api: Api, namespace: str, shared: OperatorProcess) -> None:
    support.put(api, support.server(namespace))
    support.wait_serving(api, namespace)
    before = support.child(api, namespace, CLAIM, "chat-cache")
    assert "ownerReferences" not in before["metadata"]
    delete(api, namespace)
    api.wait_for(
        lambda: set(support.children(api, namespace)) == {(CLAIM, "chat-cache")},
        timeout=60,
        message="all children but the claim go",
    )
    # A server that asks for less takes the larger claim as it is.
    support.put(api, support.server(namespace, cache={"size": "20Gi"}))
    support.wait_serving(api, namespace)
    after = support.child(api, namespace, CLAIM, "chat-cache")
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    assert after["spec"] == before["spec"]


def test_a_claim_goes_with_its_server_where_that_is_asked_for(
    api: Api, namespace: str, shared: OperatorProcess
) -> None:
    support.put(api, support.server(namespace, cache={"size": "50Gi", "retention": "Delete"}))
    support.wait_serving(api, namespace)
    delete(api, namespace)
    api.wait_gone(CLAIM, namespace, "chat-cache", timeout=60)


def test_retention_can_change_both_ways(api: Api, namespace: str, shared: OperatorProcess) -> None:
    for retention, wanted in (("Retain", 0), ("Delete", 1), ("Retain", 0)):
        support.put(api, support.server(namespace, cache={"size": "50Gi", "retention": retention}))
        message = f"{retention}: {wanted} owner references"
        owned = partial(_is_owned_by, wanted)
        api.wait_object(CLAIM, namespace, "chat-cache", owned, message=message)


def _is_owned_by(owners: int, obj: Object) -> bool:
    return len(obj["metadata"].get("ownerReferences", [])) == owners


@pytest.fixture
def storage_class(api: Api) -> Iterator[str]:
    """A class of this test's own that allows no growth yet, with volumes."""
    name = f"grows-{uuid.uuid4().hex[:8]}"
    made: Object = {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": name},
        "provisioner": "kubernetes.io/no-provisioner",
        "allowVolumeExpansion": False,
    }
    api.create(made)
    volumes = list(equipment.volumes(2, name, name))
    for volume in volumes:
        api.create(volume)
    yield name
    for volume in volumes:
        api.delete("PersistentVolume", None, volume["metadata"]["name"], missing_ok=True)
    api.delete("StorageClass", None, name)


def test_a_claim_grows_where_its_class_allows_it(
    api: Api, namespace: str, shared: OperatorProcess, storage_class: str
) -> None:
    def sized(size: str) -> Object:
        return support.server(namespace, cache={"size": size, "storageClassName": storage_class})

    support.put(api, sized("50Gi"))
    support.wait_serving(api, namespace)
    pods = [pod["metadata"]["uid"] for pod in api.list("Pod", namespace)]
    support.put(api, sized("60Gi"))
    words = "only dynamically provisioned pvc can be resized and the storageclass"
    support.wait_stalled(api, namespace, "chat", "ChildRejected", words=words)
    api.patch("StorageClass", None, storage_class, {"allowVolumeExpansion": True})
    # Classes are not watched; any word on the server makes the operator look again at once.
    api.patch("VLLMServer", namespace, "chat", {"metadata": {"annotations": {"look": "again"}}})
    support.wait_serving(api, namespace)
    claim = support.child(api, namespace, CLAIM, "chat-cache")
    assert claim["spec"]["resources"]["requests"]["storage"] == "60Gi"
    assert [pod["metadata"]["uid"] for pod in api.list("Pod", namespace)] == pods, "growth rolls nothing"

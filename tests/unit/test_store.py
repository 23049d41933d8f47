"""What the watches tell, and what of it is believed."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from tests.unit.things import SMALL
from vllm_operator.api.meta import InvalidObjectError
from vllm_operator.api.observed import DeploymentFacts, Observed
from vllm_operator.api.seen import ClaimFacts
from vllm_operator.controller.store import SETTLE_SECONDS, Key, Store
from vllm_operator.status.conditions import Transition

KEY = Key("VLLMServer", "ns", "chat")
LIVE = Path(__file__).parents[1] / "data" / "live"
LABELS = {"vllm-operator.dev/server": "chat"}


def server(version: int, *, uid: str = "u1", **more: Any) -> dict[str, Any]:
    metadata = {
        "name": "chat",
        "namespace": "ns",
        "uid": uid,
        "generation": 1,
        "resourceVersion": str(version),
    }
    return {"metadata": metadata, "spec": SMALL} | more


def child(version: int, *, uid: str = "c1", name: str = "chat", **metadata: Any) -> dict[str, Any]:
    common = {"name": name, "namespace": "ns", "uid": uid, "resourceVersion": str(version), "labels": LABELS}
    return {"metadata": common | metadata}


def pod(version: int, name: str = "chat-1", ready: str = "False") -> dict[str, Any]:
    return child(version, name=name) | {"status": {"conditions": [{"type": "Ready", "status": ready}]}}


@pytest.fixture
def store() -> Store:
    filled = Store()
    assert filled.see("VLLMServer", server(5)) == KEY
    return filled


def versions(store: Store) -> dict[Any, int]:
    entry = store.entry(KEY)
    assert entry is not None
    return {ref: found.resource_version for ref, found in entry.children.items()}


def test_stale_events_of_a_server_are_ignored(store: Store) -> None:
    assert store.see("VLLMServer", server(5)) is None
    assert store.see("VLLMServer", server(4)) is None
    assert store.see("VLLMServer", server(10)) == KEY
    assert store.see("VLLMServer", server(9)) is None


def test_versions_are_compared_as_numbers(store: Store) -> None:
    assert store.see("Service", child(9)) == KEY
    assert store.see("Service", child(10, deletionTimestamp="2026-01-02T03:04:05Z")) == KEY
    assert store.see("Service", child(9)) is None
    assert versions(store) == {("Service", "chat"): 10}


def autoscaler(version: int, **active: str) -> dict[str, Any]:
    said = {"type": "ScalingActive", "status": "True", "reason": "ValidMetricFound", "message": "a"} | active
    return child(version) | {"status": {"conditions": [said], "currentMetrics": [version]}}


def test_what_tells_nothing_that_is_kept_concerns_nobody(store: Store) -> None:
    """The status of an autoscaler is written every 15 seconds."""
    assert store.see("HorizontalPodAutoscaler", autoscaler(6)) == KEY
    assert store.see("HorizontalPodAutoscaler", autoscaler(7)) is None
    assert versions(store) == {("HorizontalPodAutoscaler", "chat"): 7}
    assert store.see("HorizontalPodAutoscaler", autoscaler(8, message="b")) == KEY
    assert store.see("HorizontalPodAutoscaler", autoscaler(7)) is None


def test_a_pod_monitor_goes_with_its_server(store: Store) -> None:
    """No watch tells of it, and what is left of a server that is gone is kept for ever."""
    assert store.see("PodMonitor", child(6)) == KEY
    store.gone("VLLMServer", server(7))
    assert store._entries == {}


def test_stale_events_of_a_pod_are_ignored(store: Store) -> None:
    assert store.see("Pod", pod(7, ready="True")) == KEY
    assert store.see("Pod", pod(6)) is None
    assert store.see("Pod", pod(7)) is None
    seen = store.observe(KEY)
    assert seen is not None
    assert [found.ready for found in seen.pods] == [True]


def test_a_server_made_again_is_a_new_one(store: Store) -> None:
    assert store.see("VLLMServer", server(6, uid="u2")) == KEY
    seen = store.observe(KEY)
    assert isinstance(seen, Observed)
    assert seen.server.uid == "u2"


def test_a_late_deletion_of_the_old_server_does_not_touch_the_new_one(store: Store) -> None:
    store.see("VLLMServer", server(8, uid="u2"))
    store.gone("VLLMServer", server(7))
    entry = store.entry(KEY)
    assert entry is not None
    assert entry.uid == "u2"
    assert store.gone("VLLMServer", server(9, uid="u2")) == KEY
    assert store.entry(KEY) is None


def test_a_late_deletion_of_an_old_child_does_not_touch_the_new_one(store: Store) -> None:
    store.see("Service", child(6))
    store.see("Service", child(8, uid="c2"))
    store.gone("Service", child(7))
    assert versions(store) == {("Service", "chat"): 8}
    assert store.gone("Service", child(9, uid="c2")) == KEY
    assert versions(store) == {}


def test_the_answer_to_our_own_write_is_kept(store: Store) -> None:
    """A watch that lags behind then brings nothing new."""
    store.see("Service", child(20))
    assert store.see("Service", child(15)) is None
    assert store.see("Service", child(20)) is None
    assert versions(store) == {("Service", "chat"): 20}


def test_our_own_delete_is_kept(store: Store) -> None:
    store.see("Service", child(6))
    store.forget(KEY, ("Service", "chat"), "other uid")
    assert versions(store) == {("Service", "chat"): 6}
    store.forget(KEY, ("Service", "chat"), "c1")
    assert versions(store) == {}
    store.forget(KEY, ("Service", "chat"), "c1")
    store.forget(Key("VLLMServer", "ns", "nobody"), ("Service", "chat"), "c1")


def test_objects_of_nobody_are_not_kept(store: Store) -> None:
    assert store.see("Service", child(6, labels={})) is None
    assert store.see("Service", child(6, labels=None)) is None
    assert store.gone("Service", child(6, labels={})) is None
    assert store.gone("Service", child(6, labels={"vllm-operator.dev/server": "nobody"})) is None


def test_children_may_come_before_their_server_and_outlive_it() -> None:
    store = Store()
    assert store.see("Service", child(3)) == KEY
    assert store.entry(KEY) is None
    assert store.observe(KEY) is None
    store.see("VLLMServer", server(5))
    assert versions(store) == {("Service", "chat"): 3}
    store.gone("VLLMServer", server(6))
    assert store.entry(KEY) is None
    assert store._entries
    store.gone("Service", child(7))
    assert store._entries == {}


def test_pods_that_are_gone_leave(store: Store) -> None:
    store.see("Pod", pod(6))
    store.see("Pod", pod(7, name="chat-2"))
    assert store.gone("Pod", pod(8)) == KEY
    seen = store.observe(KEY)
    assert seen is not None
    assert [found.name for found in seen.pods] == ["chat-2"]


def test_a_server_that_goes_is_not_reconciled(store: Store) -> None:
    going = server(6)
    going["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    store.see("VLLMServer", going)
    assert store.observe(KEY) is None


def test_a_server_that_breaks_rules_is_told(store: Store) -> None:
    store.see("VLLMServer", server(6, spec=SMALL | {"replicas": -1}))
    with pytest.raises(InvalidObjectError, match=r"spec\.replicas"):
        store.observe(KEY)


def test_conditions_are_remembered(store: Store) -> None:
    condition = {
        "type": "Ready",
        "status": "True",
        "reason": "Serving",
        "lastTransitionTime": "t",
        "message": "m",
    }
    store.see("VLLMServer", server(6, status={"conditions": [condition]}))
    entry = store.entry(KEY)
    assert entry is not None
    assert entry.transitions == {"Ready": Transition("True", "Serving", "t")}


def live(kind: str) -> dict[str, Any]:
    body: dict[str, Any] = json.loads((LIVE / f"all-knobs-{kind.lower()}.json").read_text())["live"]
    body["metadata"] |= {"namespace": "ns", "labels": body["metadata"]["labels"] | LABELS}
    for owner in body["metadata"].get("ownerReferences", ()):
        owner["name"] = "chat"
    return body


def test_the_claim_is_ours_or_the_one_given(store: Store) -> None:
    body = live("PersistentVolumeClaim")
    body["metadata"]["name"] = "chat-cache"
    store.see("PersistentVolumeClaim", body)
    seen = store.observe(KEY)
    assert seen is not None
    assert isinstance(seen.claim, ClaimFacts)
    assert (seen.claim.phase, seen.claim.size, seen.claim.owner) == ("Pending", "100G", None)
    entry = store.entry(KEY)
    assert entry is not None
    entry.given_claim = seen.claim
    store.see("VLLMServer", server(60, spec=SMALL | {"cache": {"claimName": "weights"}}))
    again = store.observe(KEY)
    assert again is not None
    assert again.claim is seen.claim
    entry.given_claim = None
    none = store.observe(KEY)
    assert none is not None
    assert none.claim is None


def test_facts_of_a_deployment(store: Store) -> None:
    body = live("Deployment")
    body["metadata"]["name"] = "chat"
    body["status"] = {
        "observedGeneration": 1,
        "replicas": 2,
        "updatedReplicas": 2,
        "readyReplicas": 1,
        "conditions": [
            {"type": "Progressing", "status": "True", "reason": "ReplicaSetUpdated"},
            {"type": "ReplicaFailure", "status": "True", "message": "quota"},
        ],
    }
    store.see("Deployment", body)
    found = found_deployment(store)
    assert (found.wanted_replicas, found.replicas_manager, found.ready_replicas) == (2, None, 1)
    assert (found.progressing, found.failure) == ("ReplicaSetUpdated", "quota")
    assert found.record == body["spec"]["template"]["metadata"]["labels"]["vllm-operator.dev/record"]


def test_another_manager_of_replicas_is_seen(store: Store) -> None:
    body = live("Deployment")
    body["metadata"]["name"] = "chat"
    other = {
        "manager": "hpa",
        "operation": "Update",
        "fieldsV1": {"f:spec": {"f:replicas": {}}},
        "subresource": "scale",
    }
    shared = copy.deepcopy(body)
    shared["metadata"]["managedFields"].append(other)
    store.see("Deployment", shared)
    assert found_deployment(store).replicas_manager is None
    for entry in body["metadata"]["managedFields"]:
        entry["fieldsV1"].get("f:spec", {}).pop("f:replicas", None)
    body["metadata"]["managedFields"].append(other)
    body["metadata"]["resourceVersion"] = str(int(body["metadata"]["resourceVersion"]) + 1)
    store.see("Deployment", body)
    assert found_deployment(store).replicas_manager == "hpa"


def found_deployment(store: Store) -> DeploymentFacts:
    seen = store.observe(KEY)
    assert isinstance(seen, Observed)
    assert seen.deployment is not None
    return seen.deployment


def test_a_pod_that_goes_frees_its_place_for_a_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr("vllm_operator.controller.store.time.monotonic", lambda: now)
    store = Store()
    store.see("VLLMServer", server(1))
    body = pod(1)
    store.see("Pod", body)

    def freed() -> bool:
        seen = store.observe(KEY)
        assert isinstance(seen, Observed)
        return seen.freed

    assert not freed()
    store.gone("Pod", body)
    assert freed()
    now += SETTLE_SECONDS
    assert not freed()

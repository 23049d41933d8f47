"""What no pod depends on: its faults keep neither the other children nor the status waiting."""

from typing import Any

import pytest

from tests.unit.test_paused import BESIDE, KEY, live
from tests.unit.things import DEFAULT, child, observed, server
from vllm_operator.api.observed import POD_MONITOR
from vllm_operator.api.reasons import Reason, StalledError
from vllm_operator.controller.children import Children
from vllm_operator.controller.cluster import Cluster
from vllm_operator.controller.outcome import STALLED_RECHECK_SECONDS, ApiError
from vllm_operator.controller.store import Store

SCALER = "HorizontalPodAutoscaler"
ASKED = {"autoscaling": BESIDE["autoscaling"], "monitoring": BESIDE["monitoring"]}


class Faulty(Cluster):
    """Holds nothing, makes everything, and has a fault for each kind that is named in `faults`."""

    def __init__(self, **faults: Exception) -> None:
        self.faults = faults
        self.made: list[tuple[str, str]] = []

    async def get(self, ref: tuple[str, str], namespace: str) -> dict[str, Any] | None:
        """Return nothing."""

    async def create(self, manifest: dict[str, Any]) -> dict[str, Any]:
        """Return what was made."""
        kind, metadata = manifest["kind"], manifest["metadata"]
        if kind in self.faults:
            raise self.faults[kind]
        self.made.append((kind, metadata["name"]))
        return manifest | {"metadata": metadata | {"uid": f"new-{kind}", "resourceVersion": "9"}}

    async def apply(self, manifest: dict[str, Any], uid: str) -> dict[str, Any]:
        """Take nothing for an object that has gone."""
        fault = self.faults.get(manifest["kind"])
        raise fault or ApiError(409, f"uid mismatch: {uid}, and no existing object was found")


def maker(cluster: Cluster, store: Store | None = None) -> Children:
    return Children(store or Store(), cluster, DEFAULT)


@pytest.mark.parametrize(
    "fault",
    [
        ApiError(500, "etcdserver: request timed out"),
        ApiError(503, "starting"),
        ApiError(504, "timeout"),
        ApiError(409, "conflict"),
        TimeoutError(),
        ConnectionError("reset"),
    ],
    ids=repr,
)
async def test_a_passing_fault_of_one_part_holds_up_nothing(fault: Exception) -> None:
    cluster = Faulty(HorizontalPodAutoscaler=fault)
    children = maker(cluster)
    seen = observed(server(ASKED), *live(observed(server())))
    first = await children.make(KEY, seen)
    assert (first.blocked, first.refused, cluster.made) == (None, {}, [("PodMonitor", "chat")])
    assert first.again == 1.0
    waits = [(await children.make(KEY, seen)).again for _ in range(8)]
    assert waits == [2.0, 4.0, 8.0, 16.0, 32.0, *[STALLED_RECHECK_SECONDS] * 3]
    cluster.faults.clear()
    assert (await children.make(KEY, seen)).again is None
    cluster.faults[SCALER] = ApiError(429, "later", 90.0)
    assert (await children.make(KEY, seen)).again == 90.0


async def test_a_kind_that_is_not_there_is_told_of_at_once() -> None:
    cluster = Faulty(PodMonitor=ApiError(404, "the server could not find the requested resource"))
    seen = observed(server(ASKED), *live(observed(server())))
    told = await maker(cluster).make(KEY, seen)
    assert told.refused[POD_MONITOR].reason is Reason.POD_MONITOR_NOT_INSTALLED
    assert (told.again, cluster.made) == (STALLED_RECHECK_SECONDS, [(SCALER, "chat")])


async def test_what_is_still_collected_is_waited_for_a_few_seconds() -> None:
    earlier = child(SCALER, "chat", owner="earlier")
    told = await maker(Faulty()).make(KEY, observed(server(ASKED), earlier, *live(observed(server()))))
    assert told.refused[SCALER].reason is Reason.ROLLING_OUT
    assert told.again == 5.0


async def test_a_pod_monitor_that_went_unseen_is_made_anew() -> None:
    store, cluster = Store(), Faulty()
    gone = child(POD_MONITOR, "chat")
    seen = observed(server(ASKED), gone, *live(observed(server())))
    told = await maker(cluster, store).make(KEY, seen)
    assert (told.refused, told.again) == ({}, None)
    assert (POD_MONITOR, "chat") in cluster.made
    assert store._entries[KEY].children[POD_MONITOR, "chat"].uid == "new-PodMonitor"


async def test_one_that_is_watched_is_not_made_over_what_the_watch_will_tell() -> None:
    cluster = Faulty()
    seen = observed(server(ASKED), child(SCALER, "chat"), *live(observed(server())))
    told = await maker(cluster).make(KEY, seen)
    assert told.again == 1.0
    assert (SCALER, "chat") not in cluster.made


async def test_they_are_made_where_a_server_is_blocked() -> None:
    cluster = Faulty(
        PersistentVolumeClaim=ApiError(403, "only dynamically provisioned"),
        PodMonitor=ApiError(403, "podmonitors is forbidden"),
    )
    found = live(observed(server()))
    told = await maker(cluster).make(KEY, observed(server(ASKED | {"cache": {"size": "20Gi"}}), *found))
    assert isinstance(told.blocked, StalledError)
    assert "only dynamically provisioned" in told.blocked.message
    assert told.refused[POD_MONITOR].reason is Reason.CHILD_REJECTED
    assert cluster.made == [(SCALER, "chat")]


async def test_they_are_made_where_a_child_cannot_be() -> None:
    cluster = Faulty(Service=ApiError(403, "exceeded quota"))
    found = [each for each in live(observed(server())) if each.kind != "Service"]
    told = await maker(cluster).make(KEY, observed(server(ASKED), *found))
    assert isinstance(told.blocked, StalledError)
    assert cluster.made == [(SCALER, "chat"), (POD_MONITOR, "chat")]


async def test_a_passing_fault_of_what_pods_depend_on_is_raised() -> None:
    cluster = Faulty(Service=ApiError(503, "starting"))
    found = [each for each in live(observed(server())) if each.kind != "Service"]
    with pytest.raises(ApiError):
        await maker(cluster).make(KEY, observed(server(ASKED), *found))
    assert cluster.made == []

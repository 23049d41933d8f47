"""What Events say of pods that hang: which of them count, and how often they are asked for."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.unit.things import observed, pod, server, target
from vllm_operator.api.seen import Manifest
from vllm_operator.controller import events as events_
from vllm_operator.controller.cluster import Cluster
from vllm_operator.status.view import Hanging, View

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
MISSING = 'MountVolume.SetUp failed for volume "chat-template" : configmap "templates" not found'
SUMMARY = (
    "Unable to attach or mount volumes: unmounted volumes=[chat-template], unattached volumes=[], "
    "failed to process volumes=[]: context deadline exceeded"
)


class Events(Cluster):
    """Holds Events by the uid that they are about, and remembers who was asked for."""

    def __init__(self, **events: list[Manifest]) -> None:
        self.events = events
        self.asked: list[tuple[str, str]] = []

    async def events_about(self, namespace: str, uid: str) -> list[Manifest]:
        self.asked.append((namespace, uid))
        return self.events.get(uid, [])


def event(reason: str, message: str, seconds: int = 0, **more: Any) -> Manifest:
    """An Event as the kubelet writes it, so many seconds after the beginning."""
    time = f"2026-01-02T03:00:{seconds:02}Z"
    return {"reason": reason, "message": message, "lastTimestamp": time, "eventTime": None} | more


def hanging(name: str = "chat-1", seconds: float = 10) -> Hanging:
    since = (NOW - timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")
    return Hanging(name, f"u_{name[-1]}", since)


async def words(*events: Manifest) -> str:
    said, _ = await events_.look(Events(u_1=list(events)), "ns", [hanging()], NOW)
    return said.get("chat-1", "")


async def test_the_words_of_a_pod_that_hangs() -> None:
    cluster = Events(u_1=[event("FailedMount", MISSING)])
    assert await events_.look(cluster, "ns", [hanging()], NOW) == ({"chat-1": MISSING}, 10)
    assert cluster.asked == [("ns", "u_1")]


@pytest.mark.parametrize("reason", ["FailedMount", "FailedAttachVolume", "FailedMapVolume", "FailedCreate"])
async def test_events_about_volumes_count(reason: str) -> None:
    assert await words(event(reason, "why")) == "why"


@pytest.mark.parametrize("reason", ["FailedScheduling", "BackOff", "Unhealthy", "SuccessfulAttachVolume"])
async def test_other_events_do_not(reason: str) -> None:
    assert await words(event(reason, "why")) == ""


async def test_the_newest_counts_in_whatever_order_they_come() -> None:
    old, new = event("FailedMount", "old", 1), event("FailedMount", "new", 2)
    assert await words(old, new) == await words(new, old) == "new"


async def test_one_that_says_which_volume_counts_more_than_a_newer_summary() -> None:
    assert await words(event("FailedMount", MISSING, 1), event("FailedMount", SUMMARY, 2)) == MISSING
    assert await words(event("FailedMount", SUMMARY, 2)) == SUMMARY


async def test_an_event_of_the_newer_kind_has_its_time_elsewhere() -> None:
    newer = event("FailedMount", "newer", lastTimestamp=None, eventTime="2026-01-02T03:00:09.000000Z")
    assert await words(newer, event("FailedMount", "old", 1)) == "newer"


@pytest.mark.parametrize("later", ["Pulling", "Pulled", "Created", "Started", "FailedCreatePodSandBox"])
async def test_a_failure_has_passed_once_the_kubelet_goes_on(later: str) -> None:
    """Volumes often fail for a moment; the image may then take minutes."""
    assert await words(event("FailedMount", MISSING, 1), event(later, "on", 1)) == ""
    # The node was started anew, and a volume is missed that was there before.
    assert await words(event(later, "before", 1), event("FailedMount", MISSING, 2)) == MISSING


@pytest.mark.parametrize(("seconds", "asked"), [(0, 0), (2, 0), (3, 1), (4, 1)])
async def test_a_container_is_given_some_seconds(seconds: int, asked: int) -> None:
    cluster = Events()
    _, again = await events_.look(cluster, "ns", [hanging(seconds=seconds)], NOW)
    assert len(cluster.asked) == asked
    assert again == (seconds if asked else 3 - seconds)


@pytest.mark.parametrize(("seconds", "again"), [(3, 3), (20, 20), (60, 60), (7200, 60)])
async def test_the_longer_it_hangs_the_more_seldom_it_is_asked_about(seconds: int, again: int) -> None:
    assert (await events_.look(Events(), "ns", [hanging(seconds=seconds)], NOW))[1] == again


async def test_the_youngest_pod_decides_when_to_look_again() -> None:
    pods = [hanging("chat-1", 50), hanging("chat-2", 1)]
    assert (await events_.look(Events(), "ns", pods, NOW))[1] == 2


async def test_nobody_is_asked_where_nothing_hangs() -> None:
    cluster = Events()
    assert await events_.look(cluster, "ns", [], NOW) == ({}, None)
    assert cluster.asked == []


def test_what_hangs() -> None:
    since = "2026-01-02T03:04:05Z"
    pods = [
        pod(),
        pod(name="chat-2", ready=False, waiting="CrashLoopBackOff"),
        pod(name="chat-3", creating_since=since, deleting=True),
        pod(name="chat-4", creating_since=since, record="other"),
        pod(name="chat-5", creating_since=since, uid="u_5"),
    ]
    view = View(observed(server(), pods=pods), target())
    assert list(view.hanging()) == [Hanging("chat-5", "u_5", since)]


async def test_a_few_pods_speak_for_all_and_always_the_same_ones() -> None:
    cluster = Events(u_2=[event("FailedMount", MISSING)])
    pods = [hanging(f"chat-{number}", 10) for number in (5, 4, 3, 2, 1)]
    said, _ = await events_.look(cluster, "ns", pods, NOW)
    assert [uid for _, uid in cluster.asked] == ["u_1", "u_2", "u_3"]
    assert said == {"chat-2": MISSING}

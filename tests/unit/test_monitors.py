"""PodMonitors are listed when somebody asks for one, and never more often than need be."""

import asyncio
import time
from typing import Any

import pytest

from tests.unit.test_store import KEY, child, server
from vllm_operator.api.observed import Observed
from vllm_operator.api.reasons import Reason
from vllm_operator.controller.cluster import Cluster
from vllm_operator.controller.handlers import Feed
from vllm_operator.controller.monitors import MISSING_SECONDS, ROUND_SECONDS, Monitors
from vllm_operator.controller.outcome import ApiError
from vllm_operator.controller.store import Key, Store
from vllm_operator.controller.workqueue import WorkQueue


class Lists(Cluster):
    """Answers every list with the same objects, or the same error."""

    def __init__(self) -> None:
        self.there: list[dict[str, Any]] = []
        self.error: ApiError | None = None
        self.asked: list[tuple[str, str | None, str]] = []

    async def objects(self, kind: str, namespace: str | None, selector: str) -> tuple[list[Any], int]:
        self.asked.append((kind, namespace, selector))
        await asyncio.sleep(0)
        if self.error is not None:
            raise self.error
        return self.there, 9


@pytest.fixture
def feed() -> Feed:
    store = Store()
    store.see("VLLMServer", server(5))
    return Feed(store, WorkQueue[Key](), asyncio.Event(), set())


@pytest.fixture
def cluster() -> Lists:
    return Lists()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, in its only item."""
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


def seen(feed: Feed) -> Observed:
    found = feed.store.observe(KEY)
    assert isinstance(found, Observed)
    return found


MISSING = ApiError(404, "the server could not find the requested resource")


async def test_who_does_not_ask_is_no_reason_to_look(feed: Feed, cluster: Lists) -> None:
    await Monitors(cluster, feed, ()).note(KEY, wanted=False)
    assert cluster.asked == []


async def test_many_who_ask_are_one_reason(feed: Feed, cluster: Lists, clock: list[float]) -> None:
    looks = Monitors(cluster, feed, ())
    await asyncio.gather(*(looks.note(KEY._replace(name=f"n{n}"), wanted=True) for n in range(9)))
    assert cluster.asked == [("PodMonitor", None, "app.kubernetes.io/managed-by=vllm-operator")]
    clock[0] += ROUND_SECONDS - 1
    await looks.note(KEY, wanted=True)
    assert len(cluster.asked) == 1
    clock[0] += 1
    await looks.note(KEY, wanted=True)
    assert len(cluster.asked) == 2


async def test_what_is_there_is_known_and_what_has_gone_is_not(
    feed: Feed, cluster: Lists, clock: list[float]
) -> None:
    looks = Monitors(cluster, feed, ())
    cluster.there = [child(7)]
    await looks.note(KEY, wanted=True)
    assert ("PodMonitor", "chat") in seen(feed).children
    assert await feed.queue.get() == KEY
    feed.queue.done(KEY)
    clock[0] += ROUND_SECONDS
    await looks.note(KEY, wanted=True)
    assert len(feed.queue) == 0  # it is as it was
    cluster.there = []
    clock[0] += ROUND_SECONDS
    await looks.note(KEY, wanted=True)
    assert ("PodMonitor", "chat") not in seen(feed).children
    assert await feed.queue.get() == KEY


async def test_a_kind_that_comes_and_goes(feed: Feed, cluster: Lists, clock: list[float]) -> None:
    looks = Monitors(cluster, feed, ())
    cluster.there = [child(7)]
    await looks.note(KEY, wanted=True)
    assert await feed.queue.get() == KEY
    feed.queue.done(KEY)
    cluster.error = MISSING
    clock[0] += ROUND_SECONDS
    await looks.note(KEY, wanted=True)
    assert seen(feed).refused["PodMonitor"].reason == Reason.POD_MONITOR_NOT_INSTALLED
    assert ("PodMonitor", "chat") not in seen(feed).children
    assert await feed.queue.get() == KEY
    feed.queue.done(KEY)
    clock[0] += MISSING_SECONDS
    await looks.note(KEY, wanted=True)
    assert len(feed.queue) == 0  # it is missing as before
    cluster.error = None
    clock[0] += MISSING_SECONDS
    await looks.note(KEY, wanted=True)
    assert seen(feed).refused == {}
    assert len(feed.queue) == 1


async def test_a_right_that_is_missing_in_one_namespace(feed: Feed, cluster: Lists) -> None:
    looks = Monitors(cluster, feed, ("elsewhere", KEY.namespace))
    cluster.error = ApiError(403, "podmonitors is forbidden")
    await looks.note(KEY, wanted=True)
    assert {namespace for _, namespace, _ in cluster.asked} == {"elsewhere", KEY.namespace}
    refusal = seen(feed).refused["PodMonitor"]
    assert refusal.reason == Reason.CHILD_REJECTED
    assert "podmonitors is forbidden. Give its role" in refusal.message
    del feed.store.unmonitored[KEY.namespace]
    assert seen(feed).refused == {}


async def test_a_fault_that_passes_is_not_taken_for_an_answer(feed: Feed, cluster: Lists) -> None:
    looks = Monitors(cluster, feed, ())
    cluster.error = ApiError(503, "starting")
    with pytest.raises(ApiError):
        await looks.note(KEY, wanted=True)
    assert seen(feed).refused == {}
    cluster.error = None
    await looks.note(KEY, wanted=True)
    assert len(cluster.asked) == 2


async def test_what_is_doubted_is_looked_at_again(feed: Feed, cluster: Lists) -> None:
    looks = Monitors(cluster, feed, ())
    await looks.note(KEY, wanted=True)
    looks.doubt()
    await looks.note(KEY, wanted=True)
    assert len(cluster.asked) == 2


async def test_the_round_ends_with_the_last_who_asks(
    feed: Feed, cluster: Lists, clock: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once at the start for what was left behind; after that only while there is somebody."""
    looks, rests = Monitors(cluster, feed, ()), asyncio.Queue[float]()

    async def rest(seconds: float) -> None:
        clock[0] += ROUND_SECONDS
        await rests.put(seconds)
        if rests.qsize() == 3:
            await looks.note(KEY, wanted=True)
        if rests.qsize() == 6:
            await looks.note(KEY, wanted=False)
        if rests.qsize() == 9:
            raise asyncio.CancelledError

    monkeypatch.setattr(asyncio, "sleep", rest)
    cluster.objects = _at_once(cluster)  # type: ignore[method-assign]
    feed.listed.set()
    with pytest.raises(asyncio.CancelledError):
        await looks.watch()
    assert len(cluster.asked) == 1 + 3
    assert all(0 < rests.get_nowait() <= MISSING_SECONDS for _ in range(9))


def _at_once(cluster: Lists) -> Any:
    async def objects(kind: str, namespace: str | None, selector: str) -> tuple[list[Any], int]:
        cluster.asked.append((kind, namespace, selector))
        return [], 9

    return objects


async def test_a_kind_that_comes_concerns_all_who_ask(feed: Feed, cluster: Lists, clock: list[float]) -> None:
    looks, cluster.error = Monitors(cluster, feed, ()), MISSING
    others = {KEY._replace(name=f"n{n}") for n in range(3)}
    for key in others:
        await looks.note(key, wanted=True)
    assert len(feed.queue) == 1  # of them only the first has made it look
    feed.queue.done(await feed.queue.get())
    cluster.error = None
    clock[0] += MISSING_SECONDS
    await looks.note(KEY, wanted=True)
    assert {await feed.queue.get() for _ in range(len(feed.queue))} == others | {KEY}

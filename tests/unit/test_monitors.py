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


async def look(looks: Monitors, key: Key = KEY) -> None:
    """Look, if it is time to, for a server that asks for one."""
    looks.note(key, wanted=True)
    await looks.look()


async def settle() -> None:
    """Let every task go on as far as it can."""
    for _ in range(50):
        await asyncio.sleep(0)


MISSING = ApiError(404, "the server could not find the requested resource")


async def test_who_does_not_ask_is_no_reason_to_look(feed: Feed, cluster: Lists) -> None:
    Monitors(cluster, feed, ()).note(KEY, wanted=False)
    await asyncio.sleep(0)
    assert cluster.asked == []


async def test_many_who_ask_are_one_reason(feed: Feed, cluster: Lists, clock: list[float]) -> None:
    looks = Monitors(cluster, feed, ())
    for n in range(9):
        await look(looks, KEY._replace(name=f"n{n}"))
    assert cluster.asked == [("PodMonitor", None, "app.kubernetes.io/managed-by=vllm-operator")]
    clock[0] += ROUND_SECONDS - 1
    await look(looks)
    assert len(cluster.asked) == 1
    clock[0] += 1
    await look(looks)
    assert len(cluster.asked) == 2


async def test_what_is_there_is_known_and_what_has_gone_is_not(
    feed: Feed, cluster: Lists, clock: list[float]
) -> None:
    looks = Monitors(cluster, feed, ())
    cluster.there = [child(7)]
    await look(looks)
    assert ("PodMonitor", "chat") in seen(feed).children
    assert await feed.queue.get() == KEY
    feed.queue.done(KEY)
    clock[0] += ROUND_SECONDS
    await look(looks)
    assert len(feed.queue) == 0  # it is as it was
    cluster.there = []
    clock[0] += ROUND_SECONDS
    await look(looks)
    assert ("PodMonitor", "chat") not in seen(feed).children
    assert await feed.queue.get() == KEY


async def test_a_kind_that_comes_and_goes(feed: Feed, cluster: Lists, clock: list[float]) -> None:
    looks = Monitors(cluster, feed, ())
    cluster.there = [child(7)]
    await look(looks)
    assert await feed.queue.get() == KEY
    feed.queue.done(KEY)
    cluster.error = MISSING
    clock[0] += ROUND_SECONDS
    await look(looks)
    assert seen(feed).refused["PodMonitor"].reason == Reason.POD_MONITOR_NOT_INSTALLED
    assert ("PodMonitor", "chat") not in seen(feed).children
    assert await feed.queue.get() == KEY
    feed.queue.done(KEY)
    clock[0] += MISSING_SECONDS
    await look(looks)
    assert len(feed.queue) == 0  # it is missing as before
    cluster.error = None
    clock[0] += MISSING_SECONDS
    await look(looks)
    assert seen(feed).refused == {}
    assert len(feed.queue) == 1


async def test_a_right_that_is_missing_in_one_namespace(feed: Feed, cluster: Lists) -> None:
    looks = Monitors(cluster, feed, ("elsewhere", KEY.namespace))
    cluster.error = ApiError(403, "podmonitors is forbidden")
    await look(looks)
    assert {namespace for _, namespace, _ in cluster.asked} == {"elsewhere", KEY.namespace}
    refusal = seen(feed).refused["PodMonitor"]
    assert refusal.reason == Reason.CHILD_REJECTED
    assert "podmonitors is forbidden. Give its role" in refusal.message
    del feed.store.unmonitored[KEY.namespace]
    assert seen(feed).refused == {}


async def test_a_fault_that_passes_is_not_taken_for_an_answer(
    feed: Feed, cluster: Lists, clock: list[float]
) -> None:
    looks, cluster.error = Monitors(cluster, feed, ()), MISSING
    await look(looks)
    feed.queue.done(await feed.queue.get())
    cluster.error = ApiError(503, "starting")
    clock[0] += MISSING_SECONDS
    await look(looks)
    assert seen(feed).refused["PodMonitor"].reason == Reason.POD_MONITOR_NOT_INSTALLED
    assert len(feed.queue) == 0
    cluster.error = None
    await look(looks)
    assert len(cluster.asked) == 2  # the fault is remembered too
    clock[0] += MISSING_SECONDS / 2
    await look(looks)
    assert seen(feed).refused == {}
    cluster.error = ApiError(503, "starting")
    clock[0] += ROUND_SECONDS
    await look(looks)
    clock[0] += MISSING_SECONDS / 2
    await look(looks)
    assert len(cluster.asked) == 5  # nor does it wait for the next round


async def test_a_namespace_that_cannot_be_listed_holds_up_no_other(
    feed: Feed, cluster: Lists, clock: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    looks, cluster.there = Monitors(cluster, feed, ("before", KEY.namespace, "zz")), [child(7)]
    await look(looks)
    feed.queue.done(await feed.queue.get())
    cluster.there = []
    whole = cluster.objects

    async def objects(kind: str, namespace: str | None, selector: str) -> tuple[list[Any], int]:
        if namespace != KEY.namespace:
            raise TimeoutError
        return await whole(kind, namespace, selector)

    monkeypatch.setattr(cluster, "objects", objects)
    clock[0] += ROUND_SECONDS
    await look(looks)
    assert ("PodMonitor", "chat") not in seen(feed).children
    assert await feed.queue.get() == KEY


async def test_what_is_doubted_is_looked_at_again_but_not_at_once(
    feed: Feed, cluster: Lists, clock: list[float]
) -> None:
    looks = Monitors(cluster, feed, ())
    await look(looks)
    for _ in range(200):
        looks.doubt()
        await look(looks)
    assert len(cluster.asked) == 1
    clock[0] += MISSING_SECONDS / 2
    for _ in range(200):
        await look(looks)
    assert len(cluster.asked) == 2


async def test_nobody_waits_for_a_list_that_hangs(
    feed: Feed, cluster: Lists, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def objects(*_: Any) -> tuple[list[Any], int]:
        return await asyncio.Future()

    monkeypatch.setattr(cluster, "objects", objects)
    looks = Monitors(cluster, feed, ())
    feed.listed.set()
    watching = asyncio.create_task(looks.watch())
    await settle()
    looks.note(KEY, wanted=True)
    assert not watching.done()
    watching.cancel()


async def test_who_begins_to_ask_wakes_the_watch(feed: Feed, cluster: Lists, clock: list[float]) -> None:
    looks, cluster.error = Monitors(cluster, feed, ()), MISSING
    feed.listed.set()
    watching = asyncio.create_task(looks.watch())
    await settle()
    assert len(cluster.asked) == 1
    clock[0] += MISSING_SECONDS / 2
    looks.note(KEY, wanted=True)
    await settle()
    assert len(cluster.asked) == 2
    watching.cancel()


async def test_the_round_ends_with_the_last_who_asks(
    feed: Feed, cluster: Lists, clock: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once at the start for what was left behind; after that only while there is somebody."""
    looks, rests = Monitors(cluster, feed, ()), asyncio.Queue[float]()

    async def rest(_: Monitors, seconds: float) -> None:
        clock[0] += ROUND_SECONDS
        await rests.put(seconds)
        if rests.qsize() == 3:
            looks.note(KEY, wanted=True)
        if rests.qsize() == 6:
            looks.note(KEY, wanted=False)
        if rests.qsize() == 9:
            raise asyncio.CancelledError

    monkeypatch.setattr(Monitors, "_rest", rest)
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
        await look(looks, key)
    assert len(feed.queue) == 1  # of them only the first has made it look
    feed.queue.done(await feed.queue.get())
    cluster.error = None
    clock[0] += MISSING_SECONDS
    await look(looks)
    assert {await feed.queue.get() for _ in range(len(feed.queue))} == others | {KEY}

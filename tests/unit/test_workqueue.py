"""The work queue. Delays are tiny and only their order counts."""

import asyncio
from types import SimpleNamespace

import pytest

from vllm_operator.controller import workqueue
from vllm_operator.controller.workqueue import BASE_DELAY_SECONDS, MAX_DELAY_SECONDS, Priority, WorkQueue

USER, NEW, CHILD, RESYNC = Priority.USER, Priority.NEW, Priority.CHILD, Priority.RESYNC


@pytest.fixture
def queue() -> WorkQueue[str]:
    return WorkQueue()


async def taken(queue: WorkQueue[str]) -> list[str]:
    """All keys that wait, in the order in which a worker gets them; each is given back."""
    keys = []
    while len(queue):
        keys.append(await queue.get())
    for key in keys:
        queue.done(key)
    return keys


async def comes(queue: WorkQueue[str]) -> str:
    return await asyncio.wait_for(queue.get(), 10)


async def test_a_key_waits_once(queue: WorkQueue[str]) -> None:
    for key in ("a", "b", "a", "a"):
        queue.add(key, CHILD)
    assert len(queue) == 2
    assert await taken(queue) == ["a", "b"]
    assert len(queue) == 0


async def test_users_come_first_and_resyncs_last(queue: WorkQueue[str]) -> None:
    for key, priority in (("r", RESYNC), ("c", CHILD), ("n", NEW), ("u", USER), ("c2", CHILD), ("u2", USER)):
        queue.add(key, priority)
    assert await taken(queue) == ["u", "u2", "n", "c", "c2", "r"]


async def test_a_waiting_key_is_moved_forward_and_never_back(queue: WorkQueue[str]) -> None:
    queue.add("a", RESYNC)
    queue.add("b", CHILD)
    queue.add("a", USER)
    queue.add("a", RESYNC)
    assert len(queue) == 2
    assert await taken(queue) == ["a", "b"]


async def test_a_key_belongs_to_one_worker(queue: WorkQueue[str]) -> None:
    queue.add("a", CHILD)
    assert await comes(queue) == "a"
    queue.add("a", RESYNC)
    queue.add("a", USER)
    queue.add("b", CHILD)
    assert len(queue) == 1
    assert await comes(queue) == "b"
    other = asyncio.ensure_future(queue.get())
    await asyncio.sleep(0)
    assert not other.done()
    queue.done("a")
    assert await asyncio.wait_for(other, 10) == "a"


async def test_a_key_that_came_meanwhile_keeps_its_best_priority(queue: WorkQueue[str]) -> None:
    queue.add("a", CHILD)
    await queue.get()
    queue.add("b", CHILD)
    queue.add("a", RESYNC)
    queue.add("a", USER)
    queue.add("a", CHILD)
    queue.done("a")
    assert await taken(queue) == ["a", "b"]


async def test_a_key_that_did_not_come_again_is_done(queue: WorkQueue[str]) -> None:
    queue.add("a", CHILD)
    queue.done(await queue.get())
    assert len(queue) == 0
    with pytest.raises(KeyError):
        queue.done("a")


async def test_many_workers_never_share_a_key(queue: WorkQueue[str]) -> None:
    busy: set[str] = set()
    worked: list[str] = []

    async def work() -> None:
        while True:
            key = await queue.get()
            assert key not in busy
            busy.add(key)
            await asyncio.sleep(0)
            worked.append(key)
            busy.remove(key)
            queue.done(key)

    workers = [asyncio.ensure_future(work()) for _ in range(4)]
    for number in range(300):
        queue.add(f"k{number % 7}", Priority(number % len(Priority)))
        await asyncio.sleep(0)
    while len(queue) or busy:
        await asyncio.sleep(0)
    assert all(not worker.done() for worker in workers)
    for worker in workers:
        worker.cancel()
    await asyncio.gather(*workers, return_exceptions=True)
    assert set(worked) == {f"k{number}" for number in range(7)}


async def test_a_worker_that_waits_is_woken(queue: WorkQueue[str]) -> None:
    worker = asyncio.ensure_future(queue.get())
    await asyncio.sleep(0)
    queue.add("a", RESYNC)
    assert await asyncio.wait_for(worker, 10) == "a"


async def test_a_timer_rings(queue: WorkQueue[str]) -> None:
    queue.add_after("a", 0.001)
    assert len(queue) == 0
    assert await comes(queue) == "a"


async def test_the_earlier_of_two_timers_counts(queue: WorkQueue[str]) -> None:
    queue.add_after("a", 3600)
    queue.add_after("a", 0.001)
    queue.add_after("a", 3600)
    assert await comes(queue) == "a"
    queue.done("a")
    assert queue._timers == {}


async def test_timers_of_keys_are_apart(queue: WorkQueue[str]) -> None:
    queue.add_after("a", 3600)
    queue.add_after("b", 0.001)
    assert await comes(queue) == "b"
    assert set(queue._timers) == {"a"}
    queue.drop_timer("a")


async def test_a_dropped_timer_does_not_ring(queue: WorkQueue[str]) -> None:
    queue.add_after("a", 0.0)
    queue.add_after("b", 0.0)
    queue.drop_timer("a")
    queue.drop_timer("never there")
    assert await comes(queue) == "b"
    assert len(queue) == 0


async def test_back_off_doubles_is_bounded_and_starts_again(
    queue: WorkQueue[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("random.uniform", lambda _least, _most: 1.0)
    delays = [queue.retry("a") for _ in range(20)]
    assert delays[:4] == [BASE_DELAY_SECONDS * factor for factor in (1, 2, 4, 8)]
    assert delays[-1] == MAX_DELAY_SECONDS
    assert delays == sorted(delays)
    assert queue.retry("b") == BASE_DELAY_SECONDS
    queue.succeeded("a")
    queue.succeeded("never there")
    assert queue.retry("a") == BASE_DELAY_SECONDS
    for key in "ab":
        queue.drop_timer(key)


async def test_back_off_obeys_the_api_server(queue: WorkQueue[str]) -> None:
    assert queue.retry("a", least_seconds=77) == 77
    queue.drop_timer("a")


async def test_back_off_is_spread(queue: WorkQueue[str]) -> None:
    delays = {queue.retry(f"k{number}") for number in range(50)}
    assert len(delays) > 10
    assert all(0.75 * BASE_DELAY_SECONDS <= delay <= 1.25 * BASE_DELAY_SECONDS for delay in delays)
    for number in range(50):
        queue.drop_timer(f"k{number}")


async def test_a_key_that_failed_comes_again(queue: WorkQueue[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workqueue, "BASE_DELAY_SECONDS", 0.0)
    queue.retry("a")
    assert await comes(queue) == "a"


async def test_the_oldest_key(queue: WorkQueue[str], monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("vllm_operator.controller.workqueue.time", SimpleNamespace(monotonic=lambda: now[0]))
    assert queue.oldest_seconds() == 0.0
    queue.add("a", RESYNC)
    now[0] = 103.0
    queue.add("b", USER)
    now[0] = 110.0
    assert queue.oldest_seconds() == 10.0
    await queue.get()
    await queue.get()
    assert queue.oldest_seconds() == 0.0

"""What the kubelet and Prometheus are told, asked over HTTP on loopback."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any, cast

import httpx
import pytest
from aiohttp import web

from vllm_operator.config import Settings
from vllm_operator.controller import handlers, workqueue
from vllm_operator.controller.cluster import Cluster
from vllm_operator.controller.health import OLD_SECONDS, STUCK_SECONDS, Health
from vllm_operator.controller.leader import Elector
from vllm_operator.controller.metrics import Metrics
from vllm_operator.controller.monitors import Monitors
from vllm_operator.controller.operator import Operator
from vllm_operator.controller.store import Key
from vllm_operator.controller.workqueue import Priority, WorkQueue

KEY = Key("VLLMServer", "ns", "chat")


class Clock:
    """The clock of the queue, which stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(workqueue, "time", made)
    return made


@asynccontextmanager
async def served(health: Health) -> AsyncIterator[httpx.AsyncClient]:
    """A client of what `health` serves on a port of loopback."""
    runner: web.AppRunner = await health.serve("127.0.0.1", 0)
    try:
        base = f"http://127.0.0.1:{runner.addresses[0][1]}"
        async with httpx.AsyncClient(base_url=base, trust_env=False) as client:
            yield client
    finally:
        await runner.cleanup()


async def told(client: httpx.AsyncClient, path: str = "/healthz") -> tuple[int, str]:
    answer = await client.get(path)
    return answer.status_code, answer.text.strip()


async def until(holds: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not holds():
            await asyncio.sleep(0.01)


async def test_a_standby_is_healthy_and_ready() -> None:
    """It has a queue in which nothing is, and no workers."""
    async with served(Health(WorkQueue(), lambda: True, Metrics())) as client:
        assert await told(client) == (200, "ok")
        assert await told(client, "/readyz") == (200, "ok")


async def test_a_leader_that_has_not_listed_is_alive_and_not_ready(clock: Clock) -> None:
    """Keys wait for as long as the API server does not answer, and a new start would not make it."""
    queue = WorkQueue[Key]()
    queue.add(KEY, Priority.RESYNC)
    clock.now += OLD_SECONDS + 1
    async with served(Health(queue, lambda: False, Metrics())) as client:
        assert await told(client) == (200, "ok")
        assert await told(client, "/readyz") == (503, "not ready")


async def test_a_key_that_nobody_takes_is_seen(clock: Clock) -> None:
    queue = WorkQueue[Key]()
    queue.add(KEY, Priority.CHILD)
    async with served(Health(queue, lambda: True, Metrics())) as client:
        clock.now += OLD_SECONDS
        assert await told(client) == (200, "ok")
        clock.now += 1
        assert await told(client) == (503, "the oldest key has waited 901 s")
        queue.done(await queue.get())
        assert await told(client) == (200, "ok")


async def test_the_metrics_say_what_they_are() -> None:
    async with served(Health(WorkQueue(), lambda: True, Metrics())) as client:
        answer = await client.get("/metrics")
    assert answer.headers["Content-Type"] == "text/plain; version=1.0.0; charset=utf-8"
    assert "\nvllm_operator_reconciles_total{" in answer.text


class Running:
    """An operator that leads, without a cluster: nothing is watched, listed or swept."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        async def forever(*_: Any) -> None:
            await asyncio.Event().wait()

        async def watch(_: object, __: object, stop: asyncio.Event) -> Coroutine[Any, Any, Any]:
            return stop.wait()

        async def nothing() -> None:
            pass

        elector = SimpleNamespace(holds=lambda: True, following=False, hold=forever, release=nothing)
        monkeypatch.setattr(handlers, "start", watch)
        monkeypatch.setattr("vllm_operator.controller.operator.sweep", forever)
        monkeypatch.setattr(Monitors, "watch", forever)
        monkeypatch.setattr(Operator, "_list", self._listed)
        settings = Settings(workers=2)
        self.operator = Operator(settings, cast(Cluster, None), cast(Elector, elector), Metrics())
        self.held = asyncio.Event()
        self.operator.reconciler = self._reconcile  # type: ignore[assignment]

    async def _listed(self) -> None:
        self.operator.feed.listed.set()

    async def _reconcile(self, key: Key) -> float | None:
        await self.held.wait()
        return None


@pytest.fixture
async def running(monkeypatch: pytest.MonkeyPatch) -> Running:
    made = Running(monkeypatch)
    loop = asyncio.get_running_loop()
    monkeypatch.setattr(loop, "add_signal_handler", lambda *_: None)
    return made


async def test_a_reconcile_that_never_returns_is_seen(running: Running, clock: Clock) -> None:
    """Its key is not in the queue any more, and the other worker goes on."""
    operator = running.operator
    work = asyncio.create_task(operator.reconcile())
    async with served(operator.health) as client:
        await until(operator.feed.listed.is_set)
        assert await told(client) == (200, "ok")
        operator.feed.queue.add(KEY, Priority.USER)
        await until(lambda: not len(operator.feed.queue))
        clock.now += STUCK_SECONDS
        assert await told(client) == (200, "ok")
        clock.now += 1
        assert await told(client) == (503, "a reconcile has been running for 301 s")
        running.held.set()
        await until(lambda: operator.feed.queue.active_oldest_seconds() == 0)
        assert await told(client) == (200, "ok")
        operator.stopping.set()
        assert await work == 0


@pytest.mark.parametrize("fault", [RuntimeError("no"), asyncio.CancelledError()])
async def test_a_worker_that_dies_is_seen_and_ends_the_operator(
    running: Running, monkeypatch: pytest.MonkeyPatch, fault: BaseException
) -> None:
    operator, going = running.operator, asyncio.Event()

    def die(_: Key) -> None:
        raise fault

    async def slow() -> None:
        await going.wait()

    monkeypatch.setattr(operator.feed.queue, "succeeded", die)
    monkeypatch.setattr(operator.elector, "release", slow)
    work = asyncio.create_task(operator.reconcile())
    async with served(operator.health) as client:
        await until(operator.feed.listed.is_set)
        running.held.set()
        operator.feed.queue.add(KEY, Priority.USER)
        await until(operator.stopping.is_set)
        # Also while the end hangs, in which nothing is ready any more.
        assert await told(client) == (503, "a part of the operator has ended")
        assert await told(client, "/readyz") == (503, "not ready")
        going.set()
        assert await work == 1


async def test_an_end_that_was_asked_for_is_no_fault(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    operator, going = running.operator, asyncio.Event()

    async def slow() -> None:
        await going.wait()

    monkeypatch.setattr(operator.elector, "release", slow)
    work = asyncio.create_task(operator.reconcile())
    async with served(operator.health) as client:
        await until(operator.feed.listed.is_set)
        operator.stopping.set()
        await until(lambda: not operator.health.parts)
        assert await told(client) == (200, "ok")
        going.set()
        assert await work == 0

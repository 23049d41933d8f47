"""Which namespaces are closed, and when one is open again."""

import asyncio
from collections.abc import Collection
from dataclasses import replace
from types import SimpleNamespace
from typing import cast

import pytest

from vllm_operator.config import Settings
from vllm_operator.controller import handlers, reach
from vllm_operator.controller.cluster import Cluster
from vllm_operator.controller.leader import Elector
from vllm_operator.controller.metrics import Metrics
from vllm_operator.controller.operator import Operator
from vllm_operator.controller.outcome import ApiError


class Closed:
    """A cluster in which some kinds of some namespaces may not be listed."""

    def __init__(self, *shut: tuple[str, str]) -> None:
        self.shut = set(shut)
        self.broken = 0
        self.asked = 0

    async def try_list(self, kind: str, namespace: str) -> None:
        self.asked += 1
        if self.broken:
            self.broken -= 1
            raise ApiError(503, "starting")
        if (kind, namespace) in self.shut:
            raise ApiError(403, f"{kind} is forbidden in {namespace}")


@pytest.mark.parametrize("kind", handlers.WATCHED)
async def test_a_namespace_is_closed_if_anything_that_is_watched_may_not_be_listed(kind: str) -> None:
    cluster = Closed((kind, "b"))
    assert await reach.closed(cast(Cluster, cluster), ["a", "b", "c"]) == {"b": f"{kind} is forbidden in b"}


async def test_a_fault_is_not_taken_for_a_closed_namespace() -> None:
    cluster = Closed()
    cluster.broken = 1
    with pytest.raises(ApiError, match="starting"):
        await reach.closed(cast(Cluster, cluster), ["a"])


async def test_one_that_opens_is_noticed_through_faults(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reach, "LOOK_SECONDS", 0.001)
    cluster = Closed(("Service", "a"), ("Pod", "b"))
    waiting = asyncio.create_task(reach.opened(cast(Cluster, cluster), {"a", "b"}))
    await asyncio.sleep(0.05)
    assert not waiting.done()
    cluster.broken = 1
    cluster.shut.discard(("Pod", "b"))
    await asyncio.wait_for(waiting, 5)


async def test_without_a_closed_namespace_nothing_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reach, "LOOK_SECONDS", 0.001)
    cluster = Closed()
    waiting = asyncio.create_task(reach.opened(cast(Cluster, cluster), ()))
    await asyncio.sleep(0.05)
    assert not waiting.done()
    assert cluster.asked == 0
    waiting.cancel()


async def watched(cluster: Closed, *asked: str) -> tuple[tuple[str, ...], Collection[str]]:
    """What an operator watches that was asked to watch some namespaces, and what it leaves out."""
    settings = replace(Settings.read({}), namespaces=asked)
    elector = cast(Elector, SimpleNamespace(holds=lambda: True))
    operator = Operator(settings, cast(Cluster, cluster), elector, Metrics())
    left_out = await operator._leave_out_closed()
    assert operator.monitors.namespaces == (operator.namespaces or (None,))
    page = operator.metrics.page().decode()
    assert f"vllm_operator_namespaces_left_out {len(left_out)}.0" in page
    return operator.namespaces, left_out


async def test_what_is_closed_is_left_out_of_all_that_is_watched() -> None:
    cluster = Closed(("Pod", "b"))
    assert await watched(cluster, "a", "b", "c") == (("a", "c"), {"b": "Pod is forbidden in b"})
    assert await watched(cluster, "a") == (("a",), {})


async def test_where_nothing_is_open_or_nobody_can_tell_it_is_as_asked_for(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Above all, no namespace never becomes all of them."""
    cluster = Closed(("Pod", "a"), ("Pod", "b"))
    assert await watched(cluster, "a", "b") == (("a", "b"), ())
    assert await watched(cluster, "a", "a") == (("a", "a"), ())
    assert caplog.text == ""
    cluster.broken = 1
    assert await watched(cluster, "a", "c") == (("a", "c"), ())
    assert await watched(cluster) == ((), ())

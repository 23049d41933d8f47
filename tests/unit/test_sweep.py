"""Ghosts: what went while no watch told of it is found, and nothing else."""

import asyncio

import pytest

from tests.unit.test_store import KEY, child, pod, server
from vllm_operator.controller.cluster import Cluster
from vllm_operator.controller.handlers import Feed
from vllm_operator.controller.store import Key, Store
from vllm_operator.controller.sweep import sweep_kind
from vllm_operator.controller.workqueue import WorkQueue


@pytest.fixture
def store() -> Store:
    filled = Store()
    filled.see("VLLMServer", server(5))
    filled.see("Service", child(6))
    filled.see("Pod", pod(7))
    return filled


OBJECTS = (("VLLMServer", "u1"), ("Service", "c1"), ("Pod", "c1"))


def kinds(store: Store) -> set[str]:
    entry = store._entries.get(KEY)
    if entry is None:
        return set()
    found = {kind for kind, _ in entry.children} | ({"Pod"} if entry.pods else set())
    return found | ({"VLLMServer"} if entry.body else set())


@pytest.mark.parametrize(("kind", "uid"), OBJECTS)
def test_what_is_there_stays(store: Store, kind: str, uid: str) -> None:
    assert store.sweep(kind, None, {uid}, 9) == []
    assert kinds(store) == {"VLLMServer", "Service", "Pod"}


@pytest.mark.parametrize("kind", [kind for kind, _ in OBJECTS])
def test_a_ghost_goes(store: Store, kind: str) -> None:
    assert store.sweep(kind, None, {"other"}, 9) == [KEY]
    assert kinds(store) == {"VLLMServer", "Service", "Pod"} - {kind}


@pytest.mark.parametrize("kind", [kind for kind, _ in OBJECTS])
def test_what_is_newer_than_the_list_is_no_ghost(store: Store, kind: str) -> None:
    assert store.sweep(kind, None, set(), 4) == []
    assert kinds(store) == {"VLLMServer", "Service", "Pod"}


def test_only_the_kind_and_the_namespace_that_were_listed_are_swept(store: Store) -> None:
    assert store.sweep("Service", "elsewhere", set(), 9) == []
    assert store.sweep("Deployment", None, set(), 9) == []
    assert store.sweep("Service", "ns", set(), 9) == [KEY]


def test_a_late_word_of_a_ghost_does_not_bring_it_back(store: Store) -> None:
    store.sweep("Service", None, set(), 9)
    assert store.see("Service", child(5)) is None
    assert "Service" not in kinds(store)


def test_where_nothing_is_left_nothing_is_kept(store: Store) -> None:
    for kind, _ in OBJECTS:
        store.sweep(kind, None, set(), 9)
    assert store._entries == {}


class Lists(Cluster):
    """Answers every list with the same."""

    def __init__(self, uids: set[str]) -> None:
        self.uids_there = uids
        self.asked: list[tuple[str, str | None, str]] = []

    async def uids(self, kind: str, namespace: str | None, selector: str = "") -> tuple[set[str], int]:
        self.asked.append((kind, namespace, selector))
        return self.uids_there, 9


async def test_a_server_whose_child_was_a_ghost_is_looked_at(store: Store) -> None:
    feed = Feed(store, WorkQueue[Key](), asyncio.Event(), set())
    cluster = Lists({"u1"})
    await sweep_kind(cluster, feed, (), "Service")
    assert cluster.asked == [("Service", None, "app.kubernetes.io/managed-by=vllm-operator")]
    assert len(feed.queue) == 1
    assert await feed.queue.get() == KEY


async def test_every_namespace_is_listed_and_servers_without_a_selector(store: Store) -> None:
    feed = Feed(store, WorkQueue[Key](), asyncio.Event(), set())
    cluster = Lists({"u1"})
    await sweep_kind(cluster, feed, ("a", "ns"), "VLLMServer")
    assert cluster.asked == [("VLLMServer", "a", ""), ("VLLMServer", "ns", "")]
    assert len(feed.queue) == 0

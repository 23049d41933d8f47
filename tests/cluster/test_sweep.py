"""The sweep, on the real API server: what the store holds and the cluster does not is found and dropped."""

import asyncio
import copy
from collections.abc import AsyncIterator

import pytest

from tests.cluster import support
from tests.harness.api import Api, Object
from tests.harness.operator import Cluster, OperatorProcess
from vllm_operator.controller import cluster as door
from vllm_operator.controller.connection import load_configuration
from vllm_operator.controller.handlers import WATCHED, Feed
from vllm_operator.controller.metrics import Metrics
from vllm_operator.controller.store import Key, Store, _known
from vllm_operator.controller.sweep import sweep_kind
from vllm_operator.controller.workqueue import WorkQueue

KEY = "VLLMServer"


@pytest.fixture
async def client(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[door.Cluster]:
    """The operator's own client, with the administrator's rights."""
    monkeypatch.setenv("KUBECONFIG", str(cluster.kubeconfig))
    made = door.Cluster(await load_configuration(), Metrics().requested)
    yield made
    await made.close()


def everything(api: Api, namespace: str) -> list[Object]:
    """Return a server, its children and its pods, as the watches tell of them."""
    found = list(support.children(api, namespace).values())
    found += api.list("Pod", namespace, labels="app.kubernetes.io/managed-by=vllm-operator")
    return [support.child(api, namespace, KEY, "chat"), *found]


def ghost_of(obj: Object) -> Object:
    """Return an object that was there once, by the look of it, and is not any more."""
    made = copy.deepcopy(obj)
    identity = {key: f"{obj['metadata'][key]}-ghost" for key in ("name", "uid")}
    made["metadata"] |= identity
    return made


def known(store: Store) -> set[tuple[str, str]]:
    """Return kind and name of all that a store holds."""
    return {
        (kind, each["name"])
        for key in store._entries
        for kind in WATCHED
        for each in _known(key, store._entries[key], kind)
    }


async def test_ghosts_are_dropped_and_their_server_is_looked_at(
    api: Api, namespace: str, shared: OperatorProcess, client: door.Cluster
) -> None:
    support.put(api, support.server(namespace, replicas=2))
    support.wait_serving(api, namespace)
    feed = Feed(Store(), WorkQueue[Key](), asyncio.Event(), set())
    real = everything(api, namespace)
    for obj in real:
        feed.store.see(obj["kind"], obj)
    held = known(feed.store)
    for kind in WATCHED:
        await sweep_kind(client, feed, (namespace,), kind)
    assert (len(feed.queue), known(feed.store)) == (0, held), "what is there stays"
    key = Key(KEY, namespace, "chat")
    for obj in real:
        of = ghost_of(obj)
        feed.store.see(of["kind"], of)
        assert known(feed.store) == held | {(of["kind"], of["metadata"]["name"])}
        for kind in WATCHED:
            await sweep_kind(client, feed, (namespace,), kind)
        assert known(feed.store) == held, f"the ghost of a {of['kind']} is dropped"
        async with asyncio.timeout(10):
            queued = await feed.queue.get()
        feed.queue.done(queued)
        assert queued == (Key(KEY, namespace, "chat-ghost") if of["kind"] == KEY else key)
        assert len(feed.queue) == 0

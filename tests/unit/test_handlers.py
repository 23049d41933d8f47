"""The door to kopf, without a cluster."""

import asyncio
import getpass
from typing import Any

import pytest

from vllm_operator.controller import handlers
from vllm_operator.controller.store import Key, Store
from vllm_operator.controller.workqueue import WorkQueue


async def test_watching_starts_for_a_user_without_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the image nobody has the uid of the pod, and on OpenShift it is another in each namespace."""

    def unknown() -> str:
        raise KeyError("getpwuid(): uid not found: 65532")

    async def login() -> dict[str, Any]:
        return {"server": "https://127.0.0.1:1"}

    monkeypatch.setattr(getpass, "getuser", unknown)
    feed = handlers.Feed(Store(), WorkQueue[Key](), asyncio.Event(), set())
    stop = asyncio.Event()
    watching = await handlers.start(handlers.registry(feed, login), ("models",), stop)
    stop.set()
    await asyncio.wait_for(watching, 30)

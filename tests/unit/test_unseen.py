"""What exists and was not seen is looked at before anything is written over it."""

from typing import Any

import pytest

from tests.unit.test_paused import Untouched
from tests.unit.things import DEFAULT, observed, server
from vllm_operator.controller.children import Children
from vllm_operator.controller.outcome import ApiError
from vllm_operator.controller.store import Key, Store

KEY = Key("VLLMServer", "ns", "chat")


class Holds(Untouched):
    """A cluster in which a Deployment is there that no watch has told of."""

    async def get(self, ref: tuple[str, str], namespace: str) -> dict[str, Any] | None:
        """Return the one object."""
        owner = {"kind": "VLLMServer", "apiVersion": "vllm-operator.dev/v1alpha1", "name": "chat"}
        metadata = {
            "name": ref[1],
            "namespace": namespace,
            "uid": "u",
            "resourceVersion": "1",
            "generation": 1,
        }
        metadata["ownerReferences"] = [owner | {"uid": "uid-1", "controller": True}]
        return {"metadata": metadata, "spec": {"template": {"metadata": {"labels": {}}}, "replicas": 1}}


async def test_a_deployment_is_not_overwritten_unseen() -> None:
    """It may serve in FP8, and what is wanted was thought out without it."""
    store = Store()
    maker = Children(store, Holds(), DEFAULT)
    seen = observed(server())
    manifest = {"kind": "Deployment", "metadata": {"name": "chat", "namespace": "ns"}}
    with pytest.raises(ApiError, match="was there already, unseen") as raised:
        await maker._ensure(KEY, seen, manifest, {})
    assert raised.value.status == 409
    entry = store._entries[KEY]
    assert ("Deployment", "chat") in entry.children

"""Which servers name which quantizations, what each sees of the other, and who is woken when that changes."""

from collections.abc import Mapping
from typing import Any

import pytest

from tests.unit.things import DEFAULT, GAUDI_IMAGE
from vllm_operator.api.observed import Observed
from vllm_operator.api.quantized import ObservedQuantization, User
from vllm_operator.controller.store import Key, Store
from vllm_operator.controller.ties import Ties

LLAMA = Key("FP8Quantization", "ns", "llama")
OTHER = Key("FP8Quantization", "ns", "other")
CHAT = Key("VLLMServer", "ns", "chat")
SECOND = Key("VLLMServer", "ns", "second")
MEASURES: dict[str, Any] = {
    "model": {"name": "org/model", "trustRemoteCode": True},
    "cache": {"claimName": "weights"},
    "dataset": {"huggingFace": {"name": "org/data"}},
}
SERVES: dict[str, Any] = {
    "model": {"name": "org/model"},
    "device": "gaudi",
    "cache": {"claimName": "weights"},
    "prefetch": False,
}


def named(name: str) -> dict[str, Any]:
    return {"fp8": {"quantizationRef": {"name": name}}}


class World:
    """A store that is told of objects, one after the other, and what they wake."""

    def __init__(self) -> None:
        self.store = Store()
        self.woken: list[Key] = []
        self.ties = Ties(self.store, DEFAULT, self.woken.append)
        self._version = 0

    def put(self, key: Key, spec: Mapping[str, Any] | None = None, **metadata: Any) -> list[Key]:
        """Make or change a resource, and return who is woken when it is reconciled."""
        plain = MEASURES if key.kind == LLAMA.kind else SERVES
        self.store.see(key.kind, self._body(key, metadata) | {"spec": {**plain, **(spec or {})}})
        return self.tell(key)

    def child(self, key: Key, kind: str, name: str, **rest: Any) -> None:
        """Make a child of a resource; `rest` is all but its metadata."""
        owner = {"kind": key.kind, "apiVersion": "vllm-operator.dev/v1alpha1", "controller": True}
        owners = [owner | {"name": key.name, "uid": f"uid-of-{key.name}"}]
        body = self._body(Key(kind, key.namespace, name), {"ownerReferences": owners})
        self.store.see(kind, body | rest)

    def pod(self, key: Key, name: str) -> None:
        labels = {"vllm-operator.dev/server": key.name}
        self.store.see("Pod", self._body(Key("Pod", key.namespace, name), {"labels": labels}))

    def gone(self, key: Key) -> list[Key]:
        self.store.gone(key.kind, self._body(key, {}))
        return self.tell(key)

    def tell(self, key: Key) -> list[Key]:
        self.woken.clear()
        self.ties.tell(key)
        return sorted(self.woken)

    def _body(self, key: Key, metadata: Mapping[str, Any]) -> dict[str, Any]:
        self._version += 1
        common = {"name": key.name, "namespace": key.namespace, "uid": f"uid-of-{key.name}"}
        version = {"resourceVersion": str(self._version), "generation": self._version}
        return {"metadata": {**common, **version, **metadata}}


@pytest.fixture
def world() -> World:
    return World()


def test_a_quantization_wakes_the_servers_that_name_it_once(world: World) -> None:
    world.put(CHAT, named("llama"))
    world.put(SECOND, named("llama"))
    world.put(Key("VLLMServer", "ns", "plain"))
    world.put(Key("VLLMServer", "ns", "elsewhere"), named("other"))
    world.put(CHAT._replace(namespace="another"), named("llama"))
    assert world.put(LLAMA) == [CHAT, SECOND]
    assert world.tell(LLAMA) == []


def test_a_server_wakes_the_quantization_that_it_names_once(world: World) -> None:
    world.put(LLAMA)
    world.put(LLAMA._replace(namespace="another"))
    assert world.put(CHAT, named("llama")) == [LLAMA]
    assert world.tell(CHAT) == []
    assert world.put(SECOND) == []


def test_nobody_is_woken_that_does_not_exist(world: World) -> None:
    assert world.put(CHAT, named("llama")) == []
    assert world.gone(CHAT) == []
    assert world.put(LLAMA) == []


@pytest.mark.parametrize(
    ("spec", "others"),
    [
        ({"podLabels": {"a": "b"}}, []),
        ({"engineArgs": {"seed": 1}}, []),
        ({"tensorParallelSize": 2}, []),  # no pod has cards yet
        ({"fp8": {"quantizationRef": {"name": "llama"}, "whilePending": "Wait"}}, []),
        ({"cache": {"claimName": "more"}}, [LLAMA]),
    ],
)
def test_a_change_of_a_server_wakes_a_quantization_that_sees_it(
    world: World, spec: dict[str, Any], others: list[Key]
) -> None:
    world.put(LLAMA)
    world.put(CHAT, named("llama"))
    assert world.put(CHAT, {**named("llama"), **spec}) == others
    assert world.tell(CHAT) == []


def test_pods_of_a_server_wake_its_quantization(world: World) -> None:
    world.put(LLAMA)
    world.put(CHAT, named("llama"))
    world.pod(CHAT, "chat-1")
    assert world.tell(CHAT) == [LLAMA]
    world.pod(CHAT, "chat-2")
    assert world.tell(CHAT) == []
    template: dict[str, Any] = {"metadata": {"labels": {}}}
    status = {"replicas": 1, "observedGeneration": 1}
    world.child(CHAT, "Deployment", "chat", spec={"template": template}, status=status)
    assert world.tell(CHAT) == [LLAMA]  # it has cards now


@pytest.mark.parametrize(
    ("spec", "others"),
    [
        ({"retry": 3}, []),
        ({"ttlSecondsAfterFinished": 60}, []),
        ({"podLabels": {"a": "b"}}, []),
        ({"cache": {"claimName": "more"}}, [CHAT]),
        ({"tensorParallelSize": 2}, [CHAT]),
        ({"model": {"name": "org/other", "trustRemoteCode": True}}, [CHAT]),
        ({"tensorParallelSize": 3}, [CHAT]),  # it cannot be read any more
    ],
)
def test_a_change_of_a_quantization_wakes_servers_that_see_it(
    world: World, spec: dict[str, Any], others: list[Key]
) -> None:
    """Most of it cannot change: then it is deleted and made anew, and both events may be one."""
    world.put(CHAT, named("llama"))
    world.put(LLAMA)
    assert world.put(LLAMA, spec) == others
    assert world.tell(LLAMA) == []


def test_what_a_quantization_finds_wakes_servers(world: World) -> None:
    world.put(CHAT, named("llama"))
    world.put(LLAMA)
    known = {"image": GAUDI_IMAGE.image, "engine": GAUDI_IMAGE.engine}
    world.child(LLAMA, "ControllerRevision", "first", revision=1, data=known)
    assert world.tell(LLAMA) == []
    staged = {"commit": "c" * 40, "hub": "/data/hub", "dataset": "/data/d.pkl", "dataset_sha256": "a"}
    world.child(LLAMA, "ControllerRevision", "second", revision=2, data=known | {"staged": staged})
    assert world.tell(LLAMA) == [CHAT]
    seen = world.ties.observe(CHAT)
    assert isinstance(seen, Observed)
    assert seen.quantization is not None
    assert seen.quantization.commit == "c" * 40


def test_a_server_that_names_another_wakes_both(world: World) -> None:
    world.put(LLAMA)
    world.put(OTHER)
    world.put(CHAT, named("llama"))
    assert world.put(CHAT, named("other")) == [LLAMA, OTHER]
    assert world.store.users(LLAMA) == ()
    assert world.store.users(OTHER) == (CHAT,)
    assert world.put(CHAT) == [OTHER]
    assert world.put(CHAT) == []


def test_what_goes_is_told_and_forgotten(world: World) -> None:
    world.put(LLAMA)
    world.put(CHAT, named("llama"))
    world.put(SECOND, named("llama"))
    assert world.gone(CHAT) == [LLAMA]
    assert world.gone(LLAMA) == [SECOND]
    assert world.tell(LLAMA) == []
    world.gone(SECOND)
    assert world.ties._shown == {}
    assert world.store._users == {}
    assert world.store._entries == {}


def test_a_server_that_is_going_uses_nothing_any_more(world: World) -> None:
    world.put(LLAMA)
    world.put(CHAT, named("llama"))
    assert world.put(CHAT, named("llama"), deletionTimestamp="2026-01-01T00:00:00Z") == [LLAMA]
    assert world.store.named(CHAT) is None
    assert users(world) == []


def test_a_server_that_cannot_be_read_is_no_user(world: World) -> None:
    world.put(LLAMA)
    world.put(CHAT, named("llama"))
    assert world.put(CHAT, {**named("llama"), "replicas": -1}) == [LLAMA]
    assert users(world) == []
    assert world.store.users(LLAMA) == (CHAT,), "it names it all the same"


@pytest.mark.parametrize(
    "fp8", [None, "llama", [], {}, {"quantizationRef": None}, {"quantizationRef": {"name": 1}}]
)
def test_a_reference_that_is_none_names_nobody(world: World, fp8: Any) -> None:
    world.put(CHAT, named("llama"))
    world.put(CHAT, {"fp8": fp8})
    assert world.store.named(CHAT) is None
    assert world.store._users == {}


def test_what_each_sees_of_the_other(world: World) -> None:
    world.put(SECOND, named("llama"))
    world.put(CHAT, {**named("llama"), "cache": {"claimName": "more"}})
    world.put(Key("VLLMServer", "ns", "plain"))
    assert isinstance(seen := world.ties.observe(CHAT), Observed)
    assert seen.quantization is None
    world.put(LLAMA)
    assert users(world) == [
        User(name="chat", claim="more", held=False, cards=0, fp8=False),
        User(name="second", claim="weights", held=False, cards=0, fp8=False),
    ]
    assert isinstance(seen := world.ties.observe(CHAT), Observed)
    assert seen.quantization is not None
    assert (seen.quantization.model, seen.quantization.result) == ("org/model", None)
    assert isinstance(seen := world.ties.observe(Key("VLLMServer", "ns", "plain")), Observed)
    assert seen.quantization is None
    assert world.ties.observe(Key("VLLMServer", "ns", "nobody")) is None


def users(world: World) -> list[User]:
    seen = world.ties.observe(LLAMA)
    assert isinstance(seen, ObservedQuantization)
    return list(seen.users)

"""A pause: nothing is written but the status, and that says what waits and how to go on."""

from dataclasses import replace
from typing import Any

import pytest

from tests.unit.situations import NOT_READY
from tests.unit.things import (
    DEFAULT,
    child,
    claim,
    deployment,
    observed,
    pod,
    record_of,
    server,
    target,
)
from vllm_operator.api.observed import Observed
from vllm_operator.api.reasons import Reason, StalledError
from vllm_operator.api.seen import Child
from vllm_operator.controller.children import Children
from vllm_operator.controller.cluster import Cluster
from vllm_operator.controller.store import Key, Store
from vllm_operator.controller.wanted import Wanted
from vllm_operator.desired import names
from vllm_operator.desired.canonical import digest
from vllm_operator.desired.server import desired
from vllm_operator.status.server import readiness
from vllm_operator.status.view import View

PAUSED = {"paused": True}
RESUME = '`kubectl -n ns patch vllm chat --type=merge -p \'{"spec":{"paused":false}}\'`'
KEY = Key("VLLMServer", "ns", "chat")


class Untouched(Cluster):
    """A cluster that nobody may ask."""

    def __init__(self) -> None:
        pass

    async def delete(self, *_: Any) -> None:
        raise AssertionError("nothing may be deleted")

    async def apply(self, manifest: Any, *_: Any) -> Any:
        raise AssertionError(f"{manifest['kind']} would be applied")


def judged(spec: dict[str, Any], **state: Any) -> tuple[bool | None, Reason, bool, str]:
    pods = [pod(ready=state.pop("ready", True))]
    told = readiness(View(observed(server(spec), deployment(**state), claim=claim(), pods=pods), target()))
    return told.ready, told.reason, told.stalled, told.message


def test_what_serves_stays_ready() -> None:
    message = (
        f"Serves at http://chat.ns.svc:8008/v1. spec.paused is true: nothing is changed. Resume: {RESUME}"
    )
    assert judged(PAUSED) == (True, Reason.PAUSED, False, message)
    assert judged({})[1] == Reason.SERVING


def test_what_is_suspended_stays_ready() -> None:
    none = {"wanted_replicas": 0, "replicas": 0, "updated_replicas": 0, "ready_replicas": 0}
    ready, reason, stalled, message = judged(PAUSED | {"replicas": 0}, **none)
    assert (ready, reason, stalled) == (True, Reason.PAUSED, False)
    assert "Scaled to 0" in message
    assert RESUME in message


def test_a_server_that_warms_up_goes_on_to_do_so() -> None:
    assert judged(PAUSED, ready=False, **NOT_READY)[:3] == (False, Reason.WARMING_UP, False)


def live(of: Observed) -> list[Child]:
    """The children as they are once all is made."""
    made = desired(of, DEFAULT)
    known: dict[str, Child] = {
        "Deployment": deployment(record=made.target.record),
        "PersistentVolumeClaim": claim(),
    }
    found: list[Child] = []
    for manifest in made.manifests:
        kind, name = manifest["kind"], manifest["metadata"]["name"]
        if kind == "ControllerRevision":
            found.append(record_of(manifest))
        else:
            found.append(replace(known.get(kind) or child(kind, name), digest=digest(manifest)))
    return found


def children() -> Children:
    return Children(Store(), Untouched(), DEFAULT)


async def test_with_nothing_to_do_nothing_is_asked_and_nothing_said() -> None:
    found = live(observed(server()))
    wanted = await children().make(KEY, observed(server(PAUSED), *found))
    assert wanted.target.record == desired(observed(server()), DEFAULT).target.record


def as_older(child: Child) -> Child:
    """A retained claim with the label that operators up to 706280e gave it."""
    (manifest,) = (m for m in desired(observed(server()), DEFAULT).manifests if m["kind"] == child.kind)
    labels = manifest["metadata"]["labels"] | {names.INSTANCE: "chat"}
    return replace(child, digest=digest(manifest | {"metadata": manifest["metadata"] | {"labels": labels}}))


async def test_labels_of_an_older_operator_are_nothing_that_waits() -> None:
    """Nothing is said of them, and nothing is written: an upgrade leaves what is paused as it is."""
    found = [
        as_older(each) if each.kind == "PersistentVolumeClaim" else each for each in live(observed(server()))
    ]
    maker = children()
    for _ in range(2):
        await maker.make(KEY, observed(server(PAUSED), *found))
    # After the pause they are put right.
    with pytest.raises(AssertionError, match="PersistentVolumeClaim would be applied"):
        await maker.make(KEY, observed(server(generation=2), *found))


@pytest.mark.parametrize(
    ("spec", "gone", "waits"),
    [
        ({"service": {"port": 80}}, "", "Service chat"),
        ({"replicas": 2}, "", "PodDisruptionBudget chat, Deployment chat"),
        ({}, "Service", "Service chat"),
        ({}, "ServiceAccount", "ServiceAccount chat-vllm"),
        ({"cache": {"size": "20Gi"}}, "", "PersistentVolumeClaim chat-cache"),
        ({"cache": {"size": "10Gi", "retention": "Delete"}}, "", "PersistentVolumeClaim chat-cache"),
        ({"service": {"annotations": {"a": "b"}}}, "", "Service chat"),
    ],
    ids=str,
)
async def test_what_waits_is_named(spec: dict[str, Any], gone: str, waits: str) -> None:
    found = [child for child in live(observed(server())) if child.kind != gone]
    told = await children().make(KEY, observed(server(PAUSED | spec), *found))
    assert isinstance(told.blocked, StalledError)
    assert told.blocked.reason == Reason.PAUSED
    assert told.blocked.message == f"spec.paused is true. To make or change: {waits}. Resume: {RESUME}"


async def test_a_new_revision_waits_with_its_record() -> None:
    found = live(observed(server()))
    seed = server(PAUSED | {"engineArgs": {"seed": 1}})
    digest_ = desired(observed(seed, *found), DEFAULT).target.record
    told = await children().make(KEY, observed(seed, *found))
    assert isinstance(told.blocked, StalledError)
    assert told.blocked.reason == Reason.PAUSED
    assert f"ControllerRevision chat-{digest_}, Deployment chat" in told.blocked.message


async def test_a_child_that_drifts_after_the_pause_began_waits_too() -> None:
    """What was found in order before is not taken for granted."""
    found = live(observed(server()))
    maker = children()
    paused = server(PAUSED)
    assert (await maker.make(KEY, observed(paused, *found))).blocked is None
    told = await maker.make(KEY, observed(paused, *(child for child in found if child.kind != "Service")))
    assert "Service chat" in str(told.blocked)


BESIDE = {
    "autoscaling": {"maxReplicas": 2},
    "monitoring": {"podMonitor": {}},
    "microservice": {"enabled": True},
}


async def test_what_no_pod_depends_on_waits_by_itself() -> None:
    found = live(observed(server()))
    told = await children().make(KEY, observed(server(PAUSED | BESIDE), *found))
    assert told.blocked is None
    assert {part: each.reason for part, each in told.refused.items()} == dict.fromkeys(
        ("HorizontalPodAutoscaler", "PodMonitor", names.MICROSERVICE), Reason.PAUSED
    )
    words = f"spec.paused is true. To make or change: PodMonitor chat. Resume: {RESUME}"
    assert told.refused["PodMonitor"].message == words
    made = live(observed(server(BESIDE | {"microservice": {"enabled": False}})))
    told = await children().make(KEY, observed(server(PAUSED | BESIDE), *made))
    assert set(told.refused) == {names.MICROSERVICE}


async def test_nothing_is_pruned() -> None:
    found = live(observed(server({"replicas": 2})))
    maker = children()
    seen = observed(server(PAUSED), *found)
    wanted = Wanted(basis=(), target=desired(seen, DEFAULT).target, digests=())
    await maker.prune(KEY, seen, wanted, "")
    with pytest.raises(AssertionError, match="nothing may be deleted"):
        await maker.prune(KEY, observed(server(), *found), wanted, "")

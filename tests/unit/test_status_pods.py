"""What is said of pods, word by word: which field to look at, and which line to run."""

from dataclasses import replace
from typing import Any

import pytest

from tests.unit.situations import NOT_READY, hanging, pending
from tests.unit.things import claim, deployment, observed, pod, server, target
from vllm_operator.api.observed import Observed
from vllm_operator.api.reasons import Reason
from vllm_operator.api.seen import PodFacts
from vllm_operator.status.conditions import Verdict
from vllm_operator.status.pods import VOLUME_CONFLICTS
from vllm_operator.status.server import readiness
from vllm_operator.status.view import View

CONFIG_ERROR = "CreateContainerConfigError"
SETTINGS: dict[str, Any] = {
    "model": {"name": "org/model", "tokenSecretRef": {"name": "hf"}},
    "extraEnv": [
        # Names that are parts of others, and of the kubelet's own words.
        {"name": "A", "valueFrom": {"secretKeyRef": {"name": "secret", "key": "h"}}},
        {"name": "B", "valueFrom": {"secretKeyRef": {"name": "h", "key": "hf"}}},
        {"name": "C", "valueFrom": {"secretKeyRef": {"name": "hf", "key": "other"}}},
        {"name": "D", "valueFrom": {"configMapKeyRef": {"name": "hf", "key": "url"}}},
        {"name": "E", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
        {"name": "F", "value": "hf"},
    ],
}
CHAT_TEMPLATE = {
    "model": {
        "name": "org/model",
        "chatTemplate": {"configMapKeyRef": {"name": "templates", "key": "chat.jinja"}},
    }
}


def judged(seen: Observed) -> Verdict:
    return readiness(View(seen, target()))


@pytest.mark.parametrize(
    ("words", "field", "line"),
    [
        (
            'secret "hf" not found',
            "spec.model.tokenSecretRef",
            "create secret generic hf --from-literal=HF_TOKEN=...",
        ),
        (
            'secret "h" not found',
            "spec.extraEnv[1].valueFrom.secretKeyRef",
            "create secret generic h --from-literal=hf=...",
        ),
        (
            "couldn't find key other in Secret ns/hf",
            "spec.extraEnv[2].valueFrom.secretKeyRef",
            'patch secret hf --type=merge -p \'{"stringData":{"other":"..."}}\'',
        ),
        (
            "couldn't find key HF_TOKEN in Secret ns/hf",
            "spec.model.tokenSecretRef",
            'patch secret hf --type=merge -p \'{"stringData":{"HF_TOKEN":"..."}}\'',
        ),
        (
            'secret "injected" not found',
            "the pod's environment",
            "create secret generic injected --from-literal=KEY=...",
        ),
    ],
)
def test_a_missing_secret(words: str, field: str, line: str) -> None:
    told = judged(pending(SETTINGS, waiting=CONFIG_ERROR, waiting_message=words))
    assert told.reason == Reason.SECRET_NOT_FOUND
    assert told.message == f"{words}. Make what {field} names (`kubectl -n ns {line}`), or correct the field"


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ('configmap "hf" not found', "create configmap hf --from-literal=url=..."),
        (
            "couldn't find key url in ConfigMap ns/hf",
            'patch configmap hf --type=merge -p \'{"data":{"url":"..."}}\'',
        ),
    ],
)
def test_a_missing_config_map(words: str, line: str) -> None:
    told = judged(pending(SETTINGS, waiting=CONFIG_ERROR, waiting_message=words))
    assert told.reason == Reason.CONTAINER_NOT_CREATED
    remedy = f"Make what spec.extraEnv[3].valueFrom.configMapKeyRef names (`kubectl -n ns {line}`)"
    assert f"{words}. {remedy}" in told.message


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        (CONFIG_ERROR, "failed to sync secret cache: timed out waiting for the condition"),
        (CONFIG_ERROR, "container has runAsNonRoot and image will run as root"),
        ("CreateContainerError", 'secret "hf" not found'),
    ],
)
def test_not_every_word_of_a_secret_is_of_a_missing_one(reason: str, words: str) -> None:
    told = judged(pending(SETTINGS, waiting=reason, waiting_message=words))
    assert told.reason == Reason.CONTAINER_NOT_CREATED
    assert "`kubectl -n ns describe pod chat-1`" in told.message


@pytest.mark.parametrize("words", ['configmap "templates" not found', "references non-existent config key"])
def test_a_missing_chat_template(words: str) -> None:
    failure = f'MountVolume.SetUp failed for volume "chat-template" : {words}'
    told = judged(hanging(failure, CHAT_TEMPLATE))
    assert told.reason == Reason.MOUNT_FAILED
    assert told.message == (
        f"{failure}. Make what spec.model.chatTemplate names "
        "(`kubectl -n ns create configmap templates --from-file=chat.jinja=FILE --dry-run=client -o yaml | "
        "kubectl -n ns apply --server-side -f -`), or name another ConfigMap"
    )


def test_of_the_claim_only_the_claim_is_told() -> None:
    told = judged(hanging('MountVolume.MountDevice failed for volume "pvc-1" : no', CHAT_TEMPLATE))
    assert "Mend claim chat-cache or its volume" in told.message
    assert "chatTemplate" not in told.message


def out_of_memory(**facts: Any) -> PodFacts:
    return pod(ready=False, exit_code=137, end_reason="OOMKilled", **facts)


def test_out_of_memory_stays_while_the_container_is_tried_again() -> None:
    seen = observed(server(), deployment(**NOT_READY), claim=claim(), pods=[out_of_memory()])
    assert judged(seen).reason == Reason.OUT_OF_MEMORY
    assert "used more memory than what the node has" in judged(seen).message
    ready = pod(exit_code=137, end_reason="OOMKilled")
    assert judged(observed(server(), deployment(), claim=claim(), pods=[ready])).reason == Reason.SERVING


def test_a_pod_that_is_ready_again_is_not_blamed_for_another() -> None:
    again = pod(exit_code=137, end_reason="OOMKilled")
    late = pod(name="chat-2", ready=False)
    seen = observed(server(), deployment(**NOT_READY), claim=claim(), pods=[again, late])
    assert judged(seen).reason == Reason.WARMING_UP


def test_another_end_with_the_same_code_is_a_crash() -> None:
    killed = pod(ready=False, exit_code=137, end_reason="Error")
    seen = observed(server(), deployment(**NOT_READY), claim=claim(), pods=[killed])
    assert judged(seen).reason == Reason.CRASH_LOOPING


GONE = pod(ready=False, failure="Evicted: low.", exit_code=137, end_reason="OOMKilled", started_at="")


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        ({"started_at": "", "waiting": "ContainerCreating"}, Reason.EVICTED),
        ({}, Reason.WARMING_UP),
        ({"started_at": "", "exit_code": 1}, Reason.CRASH_LOOPING),
        ({"started_at": "", "waiting": "ErrImagePull"}, Reason.IMAGE_PULL_FAILED),
    ],
    ids=str,
)
def test_an_eviction_gives_way_to_what_came_of_the_next_pod(facts: dict[str, Any], reason: Reason) -> None:
    following = pod(name="chat-2", ready=False, **facts)
    seen = observed(server(), deployment(**NOT_READY), claim=claim(), pods=[GONE, following])
    assert judged(seen).reason == reason


def test_an_eviction_is_forgotten_once_the_next_pod_serves() -> None:
    seen = observed(server(), deployment(), claim=claim(), pods=[GONE, pod(name="chat-2")])
    assert judged(seen).reason == Reason.SERVING


def test_an_eviction_before_there_is_another_pod() -> None:
    told = judged(observed(server(), deployment(**NOT_READY), claim=claim(), pods=[GONE]))
    assert told.reason == Reason.EVICTED
    assert "chat-1, or not taken it: Evicted: low. Ask for" in told.message


def test_a_volume_that_another_node_holds() -> None:
    words = 'Multi-Attach error for volume "pvc-1" Volume is already used by pod(s) chat-0'
    told = judged(hanging(words))
    assert (told.reason, told.ready, told.stalled) == (Reason.CACHE_ON_OTHER_NODE, False, False)
    assert told.message.startswith(f"{words}. It is free when the pods there have ended.")
    assert "`kubectl -n ns describe pod chat-1`" in told.message


def test_a_volume_on_a_node_that_cannot_take_the_pod() -> None:
    words = "0/2 nodes are available: 1 Insufficient cpu, 1 node(s) had volume node affinity conflict."
    told = judged(pending(unschedulable=words))
    assert told.reason == Reason.CACHE_ON_OTHER_NODE
    assert told.message.startswith(f"{words} The volume of claim chat-cache is on a node that cannot take it")
    assert "spec.cache.claimName" in told.message


@pytest.mark.parametrize(
    ("resource", "reason"),
    [("habana.ai/gaudi", Reason.WAITING_FOR_ACCELERATORS), ("memory", Reason.UNSCHEDULABLE)],
)
def test_cards_that_others_have_are_waited_for(resource: str, reason: Reason) -> None:
    words = f"0/2 nodes are available: 2 Insufficient {resource}."
    told = judged(pending({"device": "gaudi"}, unschedulable=words))
    assert (told.reason, told.ready, told.stalled) == (reason, False, False)
    assert told.message.startswith(f"{words} Free ")
    assert ("spec.tensorParallelSize" in told.message) is (reason == Reason.WAITING_FOR_ACCELERATORS)


@pytest.mark.parametrize("conflict", VOLUME_CONFLICTS)
def test_a_volume_on_another_node_is_known_by_the_words_of_every_version(conflict: str) -> None:
    words = f"0/2 nodes are available: 1 Insufficient habana.ai/gaudi, 1 node(s) {conflict}."
    told = judged(pending(unschedulable=words))
    assert told.reason == Reason.CACHE_ON_OTHER_NODE
    assert told.message.startswith(f"{words} The volume of claim chat-cache is on a node that cannot take it")


def test_what_its_own_old_pod_still_holds_is_nobody_elses() -> None:
    """With maxSurge 0 the new pod is made as soon as the old one begins to end, and drains."""
    words = "0/1 nodes are available: 1 Insufficient habana.ai/gaudi."
    waits = pod(name="chat-2", ready=False, started_at="", unschedulable=words)
    old = pod(record="before", deleting=True)
    free = deployment(**NOT_READY)
    told = judged(observed(server(), free, claim=claim(), pods=[old, waits]))
    assert (told.reason, told.stalled) == (Reason.ROLLING_OUT, False)
    assert told.message == f"{words} Pod chat-1 ends, and frees what it holds"
    prefetch = pod(record=None, job="j", deleting=True)
    then = judged(observed(server(), free, claim=claim(), pods=[prefetch, waits]))
    assert then.reason == Reason.WAITING_FOR_ACCELERATORS


def test_what_a_pod_has_just_freed_is_not_lacking() -> None:
    words = "0/1 nodes are available: 1 Insufficient habana.ai/gaudi."
    found = pending({"device": "gaudi"}, unschedulable=words)
    assert judged(found).reason == Reason.WAITING_FOR_ACCELERATORS
    assert judged(replace(found, freed=True)).reason == Reason.ROLLING_OUT

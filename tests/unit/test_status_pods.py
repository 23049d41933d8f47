"""What is said of pods, word by word: which field to look at, and which line to run."""

from typing import Any

import pytest

from tests.unit.situations import NOT_READY, hanging, pending
from tests.unit.things import RECORD, claim, deployment, observed, pod, server
from vllm_operator.api.observed import Observed, PodFacts
from vllm_operator.api.reasons import Reason
from vllm_operator.status.conditions import Verdict
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
    return readiness(View(seen, RECORD))


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

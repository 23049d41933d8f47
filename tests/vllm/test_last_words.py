"""A server that a mistake keeps from starting says in its status what the mistake was."""

import re
from collections.abc import Callable
from typing import Any

import pytest

from tests.unit.things import claim, deployment, observed, target
from tests.vllm.cases import Case
from tests.vllm.pod import Pod
from vllm_operator.api.reasons import Reason
from vllm_operator.controller import facts
from vllm_operator.desired import names
from vllm_operator.status.server import judge

Start = Callable[[Case], Pod]

MISTAKES: dict[str, tuple[dict[str, Any], str]] = {
    "no-number": (
        {"extraArgs": ["--max-num-seqs=lots"]},
        "argument --max-num-seqs: invalid int value: 'lots'",
    ),
    "too-long": (
        {"engineArgs": {"maxModelLen": 99999}},
        "User-specified max_model_len (99999) is greater than the derived max_model_len",
    ),
    "too-many-ranks": ({"tensorParallelSize": 3}, "must be divisible by tensor parallel size (3)"),
    "no-such-model": (
        {"model": {"name": "tests/nope", "offline": True}},
        "Cannot find an appropriate cached snapshot folder",
    ),
    "no-such-backend": (
        {"extraArgs": ["-ac", '{"backend": "NOPE"}']},
        "Unknown attention backend: 'NOPE'",
    ),
}


def crash(pod: Pod) -> int:
    """Let a pod start and fail; its exit code."""
    with pod:
        return pod.wait_end(600)


def message(case: Case, exit_code: int, words: str) -> str:
    """What the status says of a pod that ended so, told as a kubelet tells it."""
    ended = {"exitCode": exit_code, "reason": "Error", "message": words}
    states = {"state": {"waiting": {"reason": "CrashLoopBackOff"}}, "lastState": {"terminated": ended}}
    labels = case.template["metadata"]["labels"]
    body = {
        "metadata": {"name": f"{case.name}-1", "uid": "uid-of-it", "labels": labels},
        "status": {"containerStatuses": [{"name": names.CONTAINER, **states}]},
    }
    record = labels[names.RECORD]
    rolling = deployment(record=record, ready_replicas=0, progressing="ReplicaSetUpdated")
    seen = observed(case.server, rolling, claim=claim(), pods=[facts.pod(body)])
    status = judge(seen, target(record), previous={}, now="2026-01-02T03:04:05Z")
    (ready,) = (condition for condition in status.conditions or () if condition.type == "Ready")
    assert ready.reason == Reason.CRASH_LOOPING
    return ready.message


@pytest.mark.parametrize("name", MISTAKES)
def test_the_status_names_the_mistake(name: str, start: Start) -> None:
    spec, said = MISTAKES[name]
    case = Case(name, spec)
    pod = start(case)
    exit_code = crash(pod)
    assert exit_code in (1, 2)
    told = message(case, exit_code, pod.last_words)
    assert said in told
    assert 'File "' not in told, "frames of a traceback tell nobody anything"


def test_a_mistake_that_the_engine_finds_is_found_by_the_command_in_the_status(start: Start) -> None:
    """vLLM's front only says that its engine has failed; why is more than the kubelet keeps."""
    case = Case("blocks", {"engineArgs": {"blockSize": 7, "enforceEager": True}})
    pod = start(case)
    exit_code = crash(pod)
    cause = "No common block size for 7"
    assert cause in pod.log
    assert cause not in pod.last_words, "the cause is kept after all: the status can tell it"
    told = message(case, exit_code, pod.last_words)
    searched = re.search(r"`kubectl -n default logs blocks-1 --previous \| grep (\S+)`$", told)
    assert searched, told
    assert cause in "\n".join(line for line in pod.log.splitlines() if searched[1] in line)

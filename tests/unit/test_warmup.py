"""What is said of a server that loads its model: how far it is, until when, and what helps."""

from dataclasses import replace
from typing import Any

import pytest

from tests.unit.situations import NOT_READY
from tests.unit.things import claim, deployment, job, observed, pod, server, target
from vllm_operator.api.observed import Observed, Prefetch
from vllm_operator.api.reasons import Reason
from vllm_operator.api.seen import Progress
from vllm_operator.status import warmup
from vllm_operator.status.server import judge, readiness
from vllm_operator.status.view import View

HALF = "2026-01-02T03:34:05Z"
"""Half an hour after the start of the pods of tests."""


def loading(spec: dict[str, Any] | None = None, **facts: Any) -> Observed:
    """A server that has an hour to start."""
    of = server({"warmup": {"timeoutSeconds": 3600}} | (spec or {}))
    return observed(of, deployment(**NOT_READY), claim=claim(), pods=[pod(**({"ready": False} | facts))])


def message(seen: Observed, now: str) -> str:
    verdict = readiness(View(seen, target(), now))
    assert (verdict.reason, verdict.ready, verdict.stalled) == (Reason.WARMING_UP, False, False)
    return verdict.message


@pytest.mark.parametrize(
    ("now", "late"),
    [("2026-01-02T03:34:04Z", False), (HALF, True), ("2026-01-02T09:00:00Z", True), ("", False)],
)
def test_the_hint_comes_at_half_time(now: str, late: bool) -> None:
    said = message(loading(), now)
    assert ("Half of that time has passed: lower spec.engineArgs.maxModelLen" in said) is late
    assert ("or give it more time" in said) is late
    assert said.endswith("See `kubectl -n ns logs -f chat-1`")


def test_the_hint_names_what_the_knobs_are() -> None:
    unset = message(loading(), HALF)
    assert "maxModelLen (unset: as much as the model allows)" in unset
    assert "maxNumSeqs (unset: as much as the model allows)" in unset
    given = message(loading({"engineArgs": {"maxModelLen": 4096, "maxNumSeqs": 16}}), HALF)
    assert "spec.engineArgs.maxModelLen (4096) and spec.engineArgs.maxNumSeqs (16)" in given


def test_half_time_is_of_the_start_that_is_waited_for() -> None:
    def half(seen: Observed, **of: Any) -> str | None:
        return warmup.half_time(View(seen, target(**of)))

    assert half(loading()) == HALF
    assert half(loading({"warmup": {"timeoutSeconds": 60}})) == "2026-01-02T03:04:35Z"
    assert half(loading(ready=True)) is None
    assert half(loading(started_at="")) is None
    assert half(loading(record="old")) is None
    prefetch = Prefetch("chat-prefetch-1", None)
    running = job(prefetch.job)
    downloads = loading(record=None, job=running.name, job_uid=running.uid)
    downloads = replace(downloads, children={("Job", running.name): running})
    assert View(downloads, target("", prefetch=prefetch)).starting() is not None
    assert half(downloads, record="", prefetch=prefetch) is None


def test_a_pod_that_is_ready_and_not_yet_counted_is_not_late() -> None:
    assert "Half of that time" not in message(loading(ready=True), HALF)


def test_how_far_it_is() -> None:
    seen = replace(loading(), progress=Progress("Decode", 1023, 1024))
    assert "(spec.warmup.timeoutSeconds). Decode: 1,023 of 1,024. See" in message(seen, "")
    assert "(spec.warmup.timeoutSeconds). See" in message(loading(), "")
    told = judge(seen, target(), previous={}, now=HALF).warmup
    assert told is not None
    assert (told.phase, told.done, told.total) == ("Decode", 1023, 1024)
    assert judge(loading(), target(), previous={}, now=HALF).warmup is None

"""Objects in every state that their status may tell of, made by the functions that judge."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from tests.unit import quantized, test_accessories, test_status_fp8, test_status_prefetch, things
from tests.unit.situations import NOT_READY, SITUATIONS, hanging, pending
from tests.unit.test_status_prefetch import FAILED, WAITING
from tests.unit.test_status_quantization import CARDS, waits
from vllm_operator.api import calibration, prefetch
from vllm_operator.api.observed import Observed, Target
from vllm_operator.api.quantized import ObservedQuantization
from vllm_operator.api.reasons import Reason, StalledError
from vllm_operator.api.seen import Answer, JobFacts, PodFacts
from vllm_operator.api.status import FP8QuantizationStatus, VLLMServerStatus
from vllm_operator.controller import outcome
from vllm_operator.controller.outcome import WaitingError
from vllm_operator.desired import names
from vllm_operator.desired.server import desired
from vllm_operator.status import quantization, server, verified

NOW = "2026-01-02T04:00:00Z"
GENERATION = 1
MADE_IMPOSSIBLE = (
    *(Reason.CHILD_REJECTED, Reason.NOT_OWNED, Reason.INVALID_FOR_ENGINE),
    *(Reason.CACHE_NOT_SHAREABLE, Reason.IMAGE_NOT_ALLOWED, Reason.PAUSED),
)
"""Reasons for which children cannot be made (StalledError)."""
Object = dict[str, Any]


def objects() -> dict[str, Object]:
    """An object of each state, by its name."""
    made = {f"server, {name}": placed("VLLMServer", written(said)) for name, said in servers()}
    more = ((name, written(said)) for name, said in quantizations())
    return made | {f"quantization, {name}": placed("FP8Quantization", said) for name, said in more}


def written(said: VLLMServerStatus | FP8QuantizationStatus) -> Object:
    """A status as the operator writes it."""
    return said.model_dump(by_alias=True, exclude_none=True)


def placed(kind: str, status: Object) -> Object:
    """An object with a status."""
    metadata = {"name": "chat", "namespace": "ns", "uid": "uid-1", "generation": GENERATION}
    return {
        "apiVersion": "vllm-operator.dev/v1alpha1",
        "kind": kind,
        "metadata": metadata,
        "spec": {},
        "status": status,
    }


def servers() -> Iterator[tuple[str, VLLMServerStatus]]:
    """What may be said of a server."""
    for name, situation in SITUATIONS.items():
        yield name, judged(situation.seen)
    others = {
        "rolling out": things.observed(),
        "a volume elsewhere": hanging(
            'Multi-Attach error for volume "pvc-1" Volume is already used by pod(s)'
        ),
        "no cards": pending({"device": "gaudi"}, unschedulable=CARDS),
        "late": things.observed(things.server(), late(), pods=[things.pod(ready=False)]),
        "paused": things.observed(
            things.server({"paused": True}), things.deployment(), claim=things.claim(), pods=[things.pod()]
        ),
        "a replica lost": things.observed(things.server(), things.deployment(ready_replicas=0)),
    }
    for name, seen in others.items():
        yield name, judged(seen)
    serving = things.observed(things.server(), things.deployment())
    for answered in verified.STATUS:
        yield f"asked, {answered}", judged(replace(serving, answer=Answer(answered, "So it went")))
    for case, (scaled, *_) in test_accessories.SAID.items():
        yield f"autoscaled, {case}", judged(scaled)
    monitored = things.server(test_accessories.MONITORED)
    yield "monitored", judged(things.observed(monitored, things.child("PodMonitor", "chat")))
    refused = {"PodMonitor": test_accessories.MISSING}
    yield "not monitored", judged(replace(things.observed(monitored), refused=refused))
    yield "prefetching", judged(test_status_prefetch.seen(test_status_prefetch.run()), WAITING)
    for reason in prefetch.FAILURES:
        told = test_status_prefetch.ended(reason, "Mend it.")
        yield f"{reason}, for good", judged(test_status_prefetch.seen(told, job_=FAILED), WAITING)
        again = test_status_prefetch.ended(reason, "Mend it.", exit_code=75)
        yield f"{reason}, tried again", judged(test_status_prefetch.seen(again), WAITING)
    yield from in_fp8()
    nothing = things.observed()
    for blocked in MADE_IMPOSSIBLE:
        verdict = outcome.verdict(StalledError(blocked, "Mend it."))
        yield f"blocked, {blocked}", server.judge_blocked(nothing, verdict, previous={}, now=NOW)
    collected = outcome.verdict(WaitingError(Reason.ROLLING_OUT, "It is about to be collected", 1.0))
    yield "waits for a collection", server.judge_blocked(nothing, collected, previous={}, now=NOW)
    invalid = outcome.verdict(StalledError(Reason.INVALID_SPEC, "spec: no"))
    yield "invalid", server.judge_invalid(GENERATION, invalid, previous={}, now=NOW)


def late() -> Any:
    return things.deployment(**{**NOT_READY, "progressing": server.PROGRESS_DEADLINE_EXCEEDED})


def judged(seen: Observed, aim: Target | None = None) -> VLLMServerStatus:
    return server.judge(seen, aim or things.target(prefetch=held()), previous={}, now=NOW)


def held() -> Any:
    """A cache that a prefetch has filled."""
    return test_status_prefetch.held("c" * 40)


def in_fp8() -> Iterator[tuple[str, VLLMServerStatus]]:
    """What may be said of a server that names a quantization, while BF16 serves, nothing does, or FP8."""
    runs = test_status_fp8.RUNS
    states = {
        "calibrating": runs,
        "not found": None,
        "failed": replace(runs, failure="x"),
        "waits for cards": replace(runs, waits=Reason.WAITING_FOR_ACCELERATORS),
        "of another model": things.quantization(model="org/other"),
        "of another size": things.quantization(world_size=2),
        "of another claim": things.quantization(claim="other"),
        "of another engine": things.quantization(engine="vllm-gaudi 0.1"),
        "ready": things.quantization(),
    }
    bf16 = test_status_fp8.of(test_status_fp8.BASE)
    for name, state in states.items():
        yield f"{name}, BF16 serves", test_status_fp8.status(test_status_fp8.REF, state, bf16, runs=bf16)
        yield f"{name}, nothing serves", test_status_fp8.status(test_status_fp8.WAIT, state)
    ready = things.quantization()
    fp8 = test_status_fp8.of(test_status_fp8.REF, ready)
    yield "in FP8", test_status_fp8.status(test_status_fp8.REF, ready, fp8, runs=fp8)
    g3 = things.observed(
        things.server(test_status_fp8.WAIT | {"gaudi": {"generation": "g3"}}), quantization=ready
    )
    yield "of another generation, nothing serves", judged(g3, desired(g3, things.EVERY_NODE).target)
    yield "in FP8, its quantization gone", test_status_fp8.status(test_status_fp8.REF, None, fp8, runs=fp8)


def quantizations() -> Iterator[tuple[str, FP8QuantizationStatus]]:
    """What may be said of a quantization."""
    fetch = things.job(quantized.aim(quantized.observed()).job or "", uid="uid-fetch")
    yield "begins", measured(quantized.observed())
    yield "prefetching", measured(quantized.observed(None, fetch))
    for reason in prefetch.FAILURES:
        yield from ends(reason, fetch, names.PREFETCH, quantized.observed)
    record, fingerprint = quantized.measuring()
    of = quantized.calibration_job(fingerprint)
    yield "calibrating", measured(quantized.observed(None, record, of))

    def with_record(spec: None, job: JobFacts, *, pods: tuple[PodFacts, ...]) -> ObservedQuantization:
        return quantized.observed(spec, record, job, pods=pods)

    for reason in calibration.FAILURES:
        yield from ends(reason, of, names.CALIBRATION, with_record)
    killed = quantized.ended(of, "", 137, names.CALIBRATION, end_reason="OOMKilled")
    over = replace(of, failed="BackoffLimitExceeded: no")
    yield "out of memory", measured(with_record(None, over, pods=(killed,)))
    too_long = replace(of, failed="DeadlineExceeded: too long")
    yield "too long", measured(with_record(None, too_long, pods=()))
    for words in (CARDS, "0/1 nodes are available: 1 Insufficient memory.", "no bound volume"):
        waiting = waits(of.name, of.uid, unschedulable=words)
        yield f"waits, {words}", measured(with_record(None, of, pods=(waiting,)))
    yield "calibrated", measured(quantized.measured())
    for blocked in (Reason.CHILD_REJECTED, Reason.NOT_OWNED, Reason.INVALID_FOR_ENGINE):
        verdict = outcome.verdict(StalledError(blocked, "Mend it."))
        said = quantization.judge_blocked(quantized.observed(), verdict, previous={}, now=NOW)
        yield f"blocked, {blocked}", said
    invalid = outcome.verdict(StalledError(Reason.INVALID_SPEC, "spec: no"))
    yield "invalid", quantization.judge_invalid(GENERATION, invalid, previous={}, now=NOW)


def ends(reason: str, of: JobFacts, component: str, seen: Any) -> Iterator[tuple[str, FP8QuantizationStatus]]:
    """A Job that has failed for a reason, for good, and one that is tried again."""
    report = {"reason": reason, "message": "Mend it."}
    for code, how in ((78, "for good"), (75, "tried again")):
        done = quantized.ended(of, report, code, component)
        yield f"{component}, {reason}, {how}", measured(seen(None, of, pods=(done,)))


def measured(seen: ObservedQuantization) -> FP8QuantizationStatus:
    return quantization.judge(seen, quantized.aim(seen), previous={}, now=NOW)

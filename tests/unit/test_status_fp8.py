"""What is said of a server that asks for FP8, in conditions as Flux, Argo CD and `kubectl wait` read them."""

from dataclasses import replace
from typing import Any

import pytest

from tests.unit.situations import NOT_READY, pending
from tests.unit.things import (
    ARTIFACTS,
    DEFAULT,
    RECORD,
    claim,
    deployment,
    job,
    kinds,
    observed,
    pod,
    quantization,
    record_of,
    server,
    target,
)
from vllm_operator.api.observed import (
    Observed,
    Prefetch,
    Quantization,
    QuantizationState,
    Quantizing,
    RecordFacts,
)
from vllm_operator.api.reasons import Reason
from vllm_operator.api.status import VLLMServerStatus
from vllm_operator.desired.server import desired
from vllm_operator.status import warmup
from vllm_operator.status.conditions import Verdict
from vllm_operator.status.server import judge, judge_blocked
from vllm_operator.status.view import View

BASE = {"device": "gaudi"}
REF = BASE | {"fp8": {"quantizationRef": {"name": "q"}}}
WAIT = BASE | {"fp8": {"quantizationRef": {"name": "q"}, "whilePending": "Wait"}}
NOW = "2026-01-02T03:05:00Z"
RUNS = quantization(result=None)
OTHER = quantization(world_size=2)
USED = Quantization("q", ARTIFACTS)
CHANGED = '{"reason": "ArtifactsChanged", "message": "m"}'

Said = dict[str, tuple[str, str]]


def of(spec: dict[str, Any], state: QuantizationState | None = None) -> RecordFacts:
    """The record of a server of which nothing was there before."""
    seen = observed(server(spec), quantization=state)
    return record_of(kinds(desired(seen, DEFAULT).manifests)["ControllerRevision"])


def status(
    spec: dict[str, Any],
    state: QuantizationState | None,
    *records: RecordFacts,
    runs: RecordFacts | None = None,
    **facts: Any,
) -> VLLMServerStatus:
    """The status of a server whose Deployment serves a record."""
    digest = runs.name.removeprefix("chat-") if runs else RECORD
    live = [deployment(record=digest, **facts)] if runs else []
    pods = [pod(record=digest)] if runs and facts.get("ready_replicas", 1) else []
    seen = observed(server(spec), *records, *live, claim=claim(), pods=pods, quantization=state)
    made = desired(seen, DEFAULT)
    new = [record_of(m) for m in made.manifests if m["kind"] == "ControllerRevision"]
    seen = replace(seen, children={**seen.children, **{(r.kind, r.name): r for r in new}})
    return judge(seen, made.target, previous={}, now=NOW)


def said(of: VLLMServerStatus) -> Said:
    return {each.type: (each.status, each.reason) for each in of.conditions or []}


def message(of: VLLMServerStatus, kind: str = "Ready") -> str:
    return next(each.message for each in of.conditions or [] if each.type == kind)


def test_a_server_that_asks_for_none_says_nothing_of_it() -> None:
    record = of(BASE)
    found = status(BASE, None, record, runs=record)
    assert said(found) == {"Ready": ("True", "Serving"), "Available": ("True", "Serving")}
    assert (found.precision, found.quantization) == ("bf16", None)


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        (RUNS, "Calibrating"),
        (None, "QuantizationNotFound"),
        (replace(RUNS, failure="x"), "QuantizationFailed"),
    ],
)
def test_bf16_that_serves_is_ready_and_not_quantized(state: QuantizationState | None, reason: str) -> None:
    record = of(BASE)
    found = status(REF, state, record, runs=record)
    assert said(found) == {
        "Ready": ("True", "Serving"),
        "Available": ("True", "Serving"),
        "Quantized": ("False", reason),
    }
    assert (found.precision, found.quantization) == ("bf16", None)


def test_bf16_that_serves_for_good_is_not_what_is_asked_for() -> None:
    record = of(BASE)
    found = status(REF, OTHER, record, runs=record)
    assert said(found) == {
        "Ready": ("False", "TensorParallelMismatch"),
        "Stalled": ("True", "TensorParallelMismatch"),
        "Available": ("True", "Serving"),
        "Quantized": ("False", "TensorParallelMismatch"),
    }
    assert (found.precision, found.quantization) == ("bf16", None)


def test_what_was_promoted() -> None:
    record = of(REF, quantization())
    found = status(REF, quantization(), record, runs=record)
    assert said(found) == {
        "Ready": ("True", "Serving"),
        "Available": ("True", "Serving"),
        "Quantized": ("True", "Quantized"),
    }
    assert found.precision == "fp8"
    assert found.quantization is not None
    assert found.quantization.model_dump() == {"name": "q", "fingerprint": "f00d"}


def test_a_promotion_on_its_way() -> None:
    before = of(BASE)
    found = status(REF, quantization(), before, runs=before)
    assert said(found) == {
        "Ready": ("False", "RollingOut"),
        "Reconciling": ("True", "RollingOut"),
        "Available": ("True", "Serving"),
        "Quantized": ("True", "Quantized"),
    }
    assert found.precision == "fp8"


@pytest.mark.parametrize(("state", "reason"), [(None, "QuantizationNotFound"), (RUNS, "Calibrating")])
def test_fp8_goes_on_without_its_quantization(state: QuantizationState | None, reason: str) -> None:
    record = of(REF, quantization())
    found = status(REF, state, record, runs=record)
    assert said(found) == {
        "Ready": ("True", "Serving"),
        "Available": ("True", "Serving"),
        "Quantized": ("True", reason),
    }
    assert (found.precision, found.quantization is not None) == ("fp8", True)


@pytest.mark.parametrize(
    ("state", "reason", "kind"),
    [
        (RUNS, "Calibrating", "Reconciling"),
        (OTHER, "TensorParallelMismatch", "Stalled"),
        (None, "QuantizationNotFound", "Stalled"),
    ],
)
def test_who_waits_is_not_ready_and_not_suspended(
    state: QuantizationState | None, reason: str, kind: str
) -> None:
    record = of(BASE)
    nobody = {"wanted_replicas": 0, "replicas": 0, "updated_replicas": 0, "ready_replicas": 0}
    found = status(WAIT, state, record, runs=record, **nobody)
    assert said(found) == {
        "Ready": ("False", reason),
        kind: ("True", reason),
        "Available": ("False", reason),
        "Quantized": ("False", reason),
    }
    assert found.precision == "bf16"


@pytest.mark.parametrize(
    ("spec", "state", "reason", "kind"),
    [
        (REF, OTHER, "TensorParallelMismatch", "Stalled"),
        (REF | {"tensorParallelSize": 2}, None, "QuantizationNotFound", "Stalled"),
        (REF | {"tensorParallelSize": 2}, replace(RUNS, world_size=2), "Calibrating", "Reconciling"),
    ],
)
def test_what_is_held_serves_and_is_not_what_was_asked_for(
    spec: dict[str, Any], state: QuantizationState | None, reason: str, kind: str
) -> None:
    record = of(REF, quantization())
    found = status(spec, state, record, runs=record)
    assert said(found) == {
        "Ready": ("False", reason),
        kind: ("True", reason),
        "Available": ("True", "Serving"),
        "Quantized": ("False", reason),
    }
    assert (found.precision, found.quantization is not None) == ("fp8", True)
    assert "remove spec.fp8" in message(found)


def test_pods_of_a_held_revision_are_told_of_where_they_are_not_available() -> None:
    record = of(REF, quantization())
    digest = record.name.removeprefix("chat-")
    live = deployment(record=digest, **NOT_READY)
    ended = pod(record=digest, ready=False, exit_code=1, last_words="no cards")
    seen = observed(server(REF), record, live, claim=claim(), pods=[ended], quantization=OTHER)
    found = judge(seen, desired(seen, DEFAULT).target, previous={}, now=NOW)
    assert said(found)["Ready"] == ("False", "TensorParallelMismatch")
    assert said(found)["Available"] == ("False", "CrashLooping")
    assert "no cards" in message(found, "Available")


def test_dynamic_fp8_is_quantized() -> None:
    spec = BASE | {"fp8": {"mode": "Dynamic"}}
    record = of(spec)
    found = status(spec, None, record, runs=record)
    assert said(found)["Quantized"] == ("True", "Quantized")
    assert (found.precision, found.quantization) == ("fp8", None)


def test_a_prefetch_is_told_first() -> None:
    prefetch = Prefetch("chat-prefetch-0", None)
    seen = observed(server(REF | {"prefetch": True}), job(prefetch.job), claim=claim())
    quantizing = Quantizing(Reason.PREFETCHING, "m", "fp8", USED, waits=True)
    found = judge(seen, replace(target("", prefetch=prefetch), quantizing=quantizing), previous={}, now=NOW)
    assert said(found)["Ready"] == ("False", "Prefetching")
    assert said(found)["Quantized"] == ("False", "Prefetching")
    assert "Job chat-prefetch-0 downloads" in message(found)


def test_of_what_could_not_be_made_the_precision_is_not_known() -> None:
    verdict = Verdict(False, Reason.CHILD_REJECTED, "m", stalled=True)

    def blocked(spec: dict[str, Any]) -> VLLMServerStatus:
        return judge_blocked(observed(server(spec)), verdict, previous={}, now=NOW)

    assert (blocked(BASE).precision, blocked(REF).precision) == ("bf16", None)
    assert set(said(blocked(REF))) == {"Ready", "Stalled", "Available"}


def with_fp8(seen: Observed, used: Quantization | None = USED) -> View:
    quantizing = Quantizing(Reason.QUANTIZED, "m", "fp8", used)
    return View(seen, replace(target(), quantizing=quantizing), NOW)


def test_the_quantization_to_make_anew_is_named() -> None:
    seen = pending(REF, container="verify", exit_code=78, last_words=CHANGED)
    view = with_fp8(seen)
    found = judge(seen, view.target, previous={}, now=NOW)  # type: ignore[arg-type]
    assert said(found)["Stalled"] == ("True", "ArtifactsChanged")
    assert "`kubectl -n ns delete fp8q q`, and apply it again" in message(found)


@pytest.mark.parametrize(
    ("facts", "reason", "says"),
    [
        (
            {"exit_code": 1, "last_words": "python3: not found"},
            "CrashLooping",
            (
                "Container verify ended with exit code 1: python3: not found.",
                "logs chat-1 -c verify --previous",
            ),
        ),
        ({"exit_code": 137, "end_reason": "OOMKilled"}, "CrashLooping", ("Container verify",)),
        (
            {"waiting": "ImagePullBackOff", "waiting_message": "no such image"},
            "ImagePullFailed",
            ("no such image",),
        ),
        (
            {"waiting": "CreateContainerConfigError", "waiting_message": "failed to prepare subPath"},
            "ContainerNotCreated",
            ("failed to prepare subPath",),
        ),
        ({"started_at": NOW}, "WarmingUp", ("files of the calibration", "then starts vLLM")),
        # Words of a container that only has the same form.
        (
            {
                "container": "vllm",
                "exit_code": 1,
                "last_words": '{"reason": "ArtifactsChanged", "message": "m"}',
            },
            "CrashLooping",
            ("exit code 1",),
        ),
    ],
)
def test_what_keeps_the_look_at_the_files_from_its_end(
    facts: dict[str, Any], reason: str, says: tuple[str, ...]
) -> None:
    waiting = pod(ready=False, **({"container": "verify", "started_at": ""} | facts))
    seen = observed(server(REF), deployment(**NOT_READY), claim=claim(), pods=[waiting])
    found = judge(seen, with_fp8(seen).target, previous={}, now=NOW)  # type: ignore[arg-type]
    assert said(found)["Ready"] == ("False", reason)
    for words in says:
        assert words in message(found)


def test_the_time_of_a_start_is_that_of_vllm() -> None:
    def half(container: str) -> str | None:
        waiting = pod(ready=False, container=container)
        return warmup.half_time(with_fp8(observed(server(REF), deployment(**NOT_READY), pods=[waiting])))

    assert half("vllm") == "2026-01-02T04:04:05Z"
    assert half("verify") is None

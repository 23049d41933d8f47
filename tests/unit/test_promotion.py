"""From BF16 to FP8: what is made while a quantization is not ready, when it is, and when it is gone again."""

from dataclasses import replace
from typing import Any

import pytest

from tests.unit.things import (
    ARTIFACTS,
    DEFAULT,
    GAUDI_IMAGE,
    child,
    claim,
    deployment,
    job,
    kinds,
    observed,
    pod,
    quantization,
    record_of,
    server,
)
from vllm_operator.api.observed import (
    Artifacts,
    Observed,
    QuantizationState,
    Quantizing,
    RecordFacts,
    Target,
)
from vllm_operator.api.reasons import Reason
from vllm_operator.api.seen import Child
from vllm_operator.desired.defaults import Defaults, Image
from vllm_operator.desired.manifests import Desired
from vllm_operator.desired.server import basis, desired, superfluous

BASE = {"device": "gaudi"}
REF = {"fp8": {"quantizationRef": {"name": "q"}}}
WAIT = {"fp8": {"quantizationRef": {"name": "q"}, "whilePending": "Wait"}}
READY = quantization()
RUNS = quantization(result=None)
FAILED = quantization(result=None, failure="CalibrationFailed: no luck. Then let it be tried again: `k`")
OTHER = quantization(world_size=2)
NOT_READY = [RUNS, FAILED, OTHER, None]
TO_BF16 = """`kubectl -n ns patch vllm chat --type=merge -p '{"spec":{"fp8":null}}'`"""


def made(
    spec: dict[str, Any],
    state: QuantizationState | None,
    *children: Child,
    defaults: Defaults = DEFAULT,
    **more: Any,
) -> Desired[Target]:
    of = server(BASE | spec)
    return desired(observed(of, *children, quantization=state, **more), defaults)


def told(of: Desired[Target]) -> Quantizing:
    assert of.target.quantizing is not None
    return of.target.quantizing


def kept(of: Desired[Target]) -> RecordFacts:
    """The record of what was made."""
    return record_of(kinds(of.manifests)["ControllerRevision"])


def runs(record: RecordFacts, **facts: Any) -> Child:
    """The Deployment makes pods of a record."""
    return deployment(record=record.name.removeprefix("chat-"), **facts)


def wanted(of: Desired[Target]) -> dict[str, Any]:
    spec: dict[str, Any] = kinds(of.manifests)["Deployment"]["spec"]
    return spec


def words(of: Desired[Target]) -> list[str]:
    args: list[str] = wanted(of)["template"]["spec"]["containers"][0]["args"]
    return args


def in_fp8(of: Desired[Target]) -> bool:
    variables = [each["name"] for each in wanted(of)["template"]["spec"]["containers"][0]["env"]]
    assert ("inc" in words(of)) is ("QUANT_CONFIG" in variables)
    return "inc" in words(of)


def inputs(of: Desired[Target]) -> dict[str, Any]:
    found: dict[str, Any] = kinds(of.manifests)["ControllerRevision"]["data"]["inputs"]
    return found


def test_a_server_that_names_a_quantization_is_the_one_before_until_it_is_ready() -> None:
    before = made({}, None)
    for state in NOT_READY:
        after = made(REF, state)
        assert inputs(after) == inputs(before)
        assert after.target.record == before.target.record
        assert not in_fp8(after)
        assert (told(after).precision, told(after).waits) == ("bf16", False)
        serving = made(REF, state, kept(before), runs(kept(before)))
        assert wanted(serving) == wanted(made({}, None, kept(before), runs(kept(before))))


@pytest.mark.parametrize(
    ("state", "reason", "stalled", "says"),
    [
        (RUNS, Reason.CALIBRATING, False, "`kubectl -n ns get fp8q q`"),
        (FAILED, Reason.QUANTIZATION_FAILED, True, "no luck. Then let it be tried again: `k`"),
        (OTHER, Reason.TENSOR_PARALLEL_MISMATCH, True, "spec.tensorParallelSize"),
        (None, Reason.QUANTIZATION_NOT_FOUND, True, "there is no FP8Quantization q in namespace ns."),
    ],
)
def test_why_it_is_not_fp8(state: QuantizationState | None, reason: Reason, stalled: bool, says: str) -> None:
    for spec, then, waits in ((REF, "pods serve in BF16", False), (WAIT, "there are no pods", True)):
        found = told(made(spec, state))
        assert (found.reason, found.stalled, found.waits, found.held) == (reason, stalled, waits, False)
        assert says in found.message
        assert f". Until then {then}" in found.message


def test_who_waits_for_cards_is_told_the_way_out() -> None:
    state = quantization(result=None, waits="WaitingForAccelerators")
    assert '{"spec":{"fp8":{"whilePending":"Wait"}}}' in told(made(REF, state)).message
    assert '{"spec":{"fp8":{"whilePending":"ServeBF16"}}}' in told(made(WAIT, state)).message
    assert "It waits (CacheUnbound)" in told(made(REF, replace(RUNS, waits="CacheUnbound"))).message
    assert "whilePending" not in told(made(REF, RUNS)).message


@pytest.mark.parametrize("state", NOT_READY)
def test_who_waits_has_no_pods_whoever_has_set_another_number(state: QuantizationState | None) -> None:
    before = kept(made({}, None))
    for facts in ({}, {"replicas_manager": "hpa", "wanted_replicas": 3}):
        found = made(WAIT | {"replicas": 2}, state, before, runs(before, **facts))
        assert wanted(found)["replicas"] == 0
        assert "PodDisruptionBudget" not in kinds(found.manifests)
        assert not in_fp8(found)
    ready = made(WAIT | {"replicas": 2}, READY, before, runs(before, wanted_replicas=0))
    assert (wanted(ready)["replicas"], in_fp8(ready)) == (2, True)


def test_a_promotion_is_another_revision_and_the_one_before_stays_until_it_serves() -> None:
    before = kept(made({}, None))
    promoted = made(REF, READY, before, runs(before))
    assert in_fp8(promoted)
    assert (told(promoted).reason, told(promoted).used) == (Reason.QUANTIZED, ("q", ARTIFACTS))
    record = kept(promoted)
    assert (record.revision, record.quantization, record.fp8) == (2, ("q", ARTIFACTS), True)
    assert inputs(promoted)["quantization"] == {
        "name": "q",
        "fingerprint": "f00d",
        "output": "/data/inc/f00d/model",
        "manifest": "/data/inc/f00d/model/manifest.json",
        "quantConfig": "/data/inc/f00d/model/maxabs_quant_g2.json",
        "generation": "g2",
        "sha256": "feed",
    }
    rest = {key: value for key, value in inputs(promoted).items() if key != "quantization"}
    assert rest == inputs(made({}, None))
    rolling = observed(
        server(BASE | REF), before, record, runs(record, updated_replicas=0), quantization=READY
    )
    assert superfluous(rolling, (), promoted.target) == ()
    serving = observed(server(BASE | REF), before, record, runs(record), quantization=READY)
    assert superfluous(serving, (), promoted.target) == (before,)


def test_another_result_is_another_revision() -> None:
    other = quantization(result=ARTIFACTS._replace(sha256="beef"))
    assert made(REF, READY).target.record != made(REF, other).target.record
    assert made(REF, READY).target.record == made(WAIT, READY).target.record


def serving_fp8(spec: dict[str, Any] | None = None, **facts: Any) -> tuple[RecordFacts, Child]:
    """The record of a server that was promoted, and its Deployment."""
    record = kept(made(REF | (spec or {}), READY))
    return record, runs(record, **facts)


GONE = [
    (None, Reason.QUANTIZATION_NOT_FOUND),
    (RUNS, Reason.CALIBRATING),
    (FAILED, Reason.QUANTIZATION_FAILED),
]


@pytest.mark.parametrize(("state", "reason"), GONE)
def test_what_was_promoted_stays_fp8_and_may_be_edited(
    state: QuantizationState | None, reason: Reason
) -> None:
    record, live = serving_fp8()
    for spec in (REF, WAIT):
        same = made(spec, state, record, live)
        assert f"chat-{same.target.record}" == record.name
        assert (told(same).reason, told(same).precision, told(same).waits) == (reason, "fp8", False)
        assert told(same).used == record.quantization
        assert "The pods go on in FP8 with its result f00d" in told(same).message
        edited = made(spec | {"engineArgs": {"maxNumSeqs": 8}}, state, record, live)
        assert in_fp8(edited)
        assert "8" in words(edited)
        assert kept(edited).quantization == record.quantization


def test_the_newest_result_of_that_name_is_kept() -> None:
    record, _ = serving_fp8()
    newer = kept(made(REF, quantization(result=ARTIFACTS._replace(sha256="beef")), record))
    other = kept(made({"fp8": {"quantizationRef": {"name": "p"}}}, READY, record, newer))
    assert (newer.revision, other.revision) == (2, 3)
    found = told(made(REF, None, record, newer, other, runs(other)))
    assert found.used is not None
    assert found.used.artifacts.sha256 == "beef"


SPLITS: dict[str, dict[str, Any]] = {
    "model": {"model": {"name": "org/other"}},
    "revision": {"model": {"name": "org/model", "revision": "v2"}},
    "tensorParallelSize": {"tensorParallelSize": 2},
    "engine": {"image": "own:1", "engine": {"family": "vllm-gaudi", "version": "0.27"}},
    "generation": {"gaudi": {"generation": "g3"}},
    "quantization": {"fp8": {"quantizationRef": {"name": "p"}}},
    "claim": {"cache": {"claimName": "weights"}},
}


@pytest.mark.parametrize("name", SPLITS)
def test_a_result_is_not_kept_for_what_it_does_not_fit(name: str) -> None:
    """Then the revision before is held: it serves on as it is, in as many pods as are asked for."""
    record, live = serving_fp8()
    for pending in ({}, {"whilePending": "Wait"}):
        spec: dict[str, Any] = REF | SPLITS[name] | {"replicas": 3}
        spec["fp8"] = spec["fp8"] | pending
        held = made(spec, None, record, live)
        found = told(held)
        assert (found.reason, found.precision, found.waits, found.held, found.stalled) == (
            Reason.QUANTIZATION_NOT_FOUND,
            "fp8",
            True,
            True,
            True,
        )
        assert held.target.record == live_record(live)
        assert wanted(held)["template"] == wanted(made(REF, READY))["template"]
        assert wanted(held)["replicas"] == 3
        assert "ControllerRevision" not in kinds(held.manifests)
        assert TO_BF16 in found.message


def live_record(live: Child) -> str:
    return str(getattr(live, "record"))  # noqa: B009 - of a DeploymentFacts


@pytest.mark.parametrize(
    ("state", "stalled"),
    [(OTHER, True), (quantization(model="org/other", result=None), True)],
)
def test_a_mismatch_holds_what_serves(state: QuantizationState, stalled: bool) -> None:
    record, live = serving_fp8()
    found = told(made(REF, state, record, live))
    assert (found.held, found.waits, found.stalled) == (True, True, stalled)
    edited = made(REF | {"engineArgs": {"maxNumSeqs": 8}}, state, record, live)
    assert wanted(edited)["template"] == wanted(made(REF, READY))["template"]


def test_another_quantization_holds_what_serves_until_it_is_ready() -> None:
    record, live = serving_fp8()
    other = {"fp8": {"quantizationRef": {"name": "p"}}}
    found = told(made(other, RUNS, record, live))
    assert (found.reason, found.held, found.stalled) == (Reason.CALIBRATING, True, False)
    assert found.used == record.quantization
    rolled = made(other, READY, record, live)
    assert (in_fp8(rolled), told(rolled).held) == (True, False)


def test_dynamic_fp8_is_held_too() -> None:
    dynamic = kept(made({"fp8": {"mode": "Dynamic"}}, None))
    assert (dynamic.dynamic, dynamic.quantization, dynamic.fp8) == (True, None, True)
    found = told(made(WAIT, RUNS, dynamic, runs(dynamic)))
    assert (found.held, found.precision, found.used) == (True, "fp8", None)


def test_what_a_held_revision_needs_is_not_taken_from_it() -> None:
    record, live = serving_fp8()
    given = REF | {"serviceAccountName": "own", "tensorParallelSize": 2}
    account = child("ServiceAccount", "chat-vllm")
    seen = observed(server(BASE | given), record, live, account)
    held = desired(seen, DEFAULT)
    refs = {(m["kind"], m["metadata"]["name"]) for m in held.manifests}
    assert told(held).held
    assert superfluous(seen, refs, held.target) == ()
    # Without a hold it goes.
    assert superfluous(seen, refs, replace(held.target, quantizing=None)) == (account,)


def test_back_to_bf16_is_a_rollout_like_another() -> None:
    record, live = serving_fp8()
    back = made({}, None, record, live)
    assert (in_fp8(back), back.target.quantizing) == (False, None)
    assert kept(back).revision == 2
    assert inputs(back) == inputs(made({}, None))


def test_a_record_that_is_gone_holds_nothing() -> None:
    _, live = serving_fp8()
    found = made(REF | {"tensorParallelSize": 2}, None, live)
    assert (told(found).held, in_fp8(found)) == (False, False)


COMMIT, NEXT = "0" * 40, "1" * 40


def prefetched(commit: str, job_: Child) -> dict[str, Any]:
    said = (
        f'{{"commit": "{commit}", "files": 1, "bytes": 1, "downloaded": 1, "adopted": {{"files": 0}}, '
        '"cache": "/data/hub"}'
    )
    return {
        "pods": [pod(name="p", job=job_.name, job_uid=job_.uid, record=None, exit_code=0, last_words=said)]
    }


def after_prefetch(
    spec: dict[str, Any], state: QuantizationState | None, commit: str, *children: Child
) -> Desired[Target]:
    """What is made once the prefetch has told its commit."""
    first = made(spec | {"prefetch": True}, state, *children)
    done = job(kinds(first.manifests)["Job"]["metadata"]["name"], succeeded=True)
    return made(spec | {"prefetch": True}, state, *children, done, **prefetched(commit, done))


def test_a_prefetch_comes_first_and_then_its_commit_decides() -> None:
    state = quantization(commit=COMMIT)
    first = made(REF | {"prefetch": True}, state)
    assert "Job" in kinds(first.manifests)
    assert "Deployment" not in kinds(first.manifests)
    assert (first.target.record, told(first).reason) == ("", Reason.PREFETCHING)
    assert (told(first).precision, told(first).waits) == ("fp8", True)
    assert in_fp8(after_prefetch(REF, state, COMMIT))
    other = after_prefetch(REF, state, NEXT)
    assert (in_fp8(other), told(other).reason) == (False, Reason.MODEL_MISMATCH)
    assert wanted(after_prefetch(WAIT, state, NEXT))["replicas"] == 0


@pytest.mark.parametrize(("commit", "held"), [(COMMIT, False), (NEXT, True)])
def test_a_refresh_keeps_the_result_while_the_commit_is_the_same(commit: str, held: bool) -> None:
    record = kept(after_prefetch(REF, quantization(commit=COMMIT), COMMIT))
    spec = REF | {"rollout": {"refresh": "2"}}
    waiting = made(spec | {"prefetch": True}, None, record, runs(record))
    assert wanted(waiting)["template"]["metadata"]["labels"]["vllm-operator.dev/record"] in record.name
    then = after_prefetch(spec, None, commit, record, runs(record))
    assert told(then).held is held
    assert in_fp8(then)


def test_an_edit_that_fetches_again_makes_no_pods_for_who_waits() -> None:
    """They would take the cards that the calibration has, or is about to get."""
    record = kept(after_prefetch({}, None, COMMIT))
    edited = WAIT | {"prefetch": True, "replicas": 2, "model": {"name": "org/model", "revision": "v2"}}
    nobody = runs(record, wanted_replicas=0, replicas=0)
    for state in (RUNS, None, quantization(revision="v2", commit=COMMIT)):
        waiting = made(edited, state, record, nobody)
        assert "Job" in kinds(waiting.manifests)
        assert wanted(waiting)["replicas"] == 0
    # What serves goes on while there is nothing to wait for but the download.
    ready = quantization(revision="v2", commit=COMMIT)
    assert wanted(made(edited, ready, record, runs(record)))["replicas"] == 2
    assert wanted(made(edited, RUNS, record, runs(record)))["replicas"] == 0
    assert wanted(made(edited | REF, RUNS, record, runs(record)))["replicas"] == 2
    assert wanted(made(edited | REF, ready, record, nobody))["replicas"] == 2


def seen(state: QuantizationState | None, spec: dict[str, Any], *children: Child) -> Observed:
    return observed(server(BASE | spec), *children, claim=claim(), quantization=state)


def test_the_basis_has_all_that_decides() -> None:
    record, live = serving_fp8()
    states = [*NOT_READY, READY, quantization(waits="x", result=None), quantization(commit=COMMIT)]
    assert len({basis(seen(state, REF, record, live)) for state in states}) == len(states)
    other = runs(kept(made({}, None)))
    assert basis(seen(RUNS, REF, record, live)) != basis(seen(RUNS, REF, record, other))
    stopped = runs(record, wanted_replicas=0)
    assert basis(seen(RUNS, REF, record, live)) != basis(seen(RUNS, REF, record, stopped))
    assert basis(seen(RUNS, REF, record, live)) == basis(seen(RUNS, REF, record, live))


def test_who_names_no_quantization_looks_at_none() -> None:
    record, live = serving_fp8()
    for spec in ({}, {"fp8": {"mode": "Dynamic"}}):
        assert basis(seen(RUNS, spec, record, live)) == basis(seen(READY, spec, record, live))


def test_nodes_are_those_of_the_generation_where_they_are_known() -> None:
    known = Defaults(DEFAULT.images, {}, {"g2": {"generation": "2"}})
    spec = REF | {"nodeSelector": {"a": "b"}}
    there = made(spec, READY, defaults=known)
    assert wanted(there)["template"]["spec"]["nodeSelector"] == {"a": "b", "generation": "2"}
    assert "VLLM_OPERATOR" not in told(there).message
    unknown = made(spec, READY)
    assert wanted(unknown)["template"]["spec"]["nodeSelector"] == {"a": "b"}
    assert "VLLM_OPERATOR_GAUDI_G2_NODES" in told(unknown).message
    g3: Artifacts = ARTIFACTS._replace(generation="g3")
    assert "G3_NODES" in told(made(spec, quantization(result=g3), defaults=known)).message
    pending = made(spec, RUNS, defaults=known)
    assert wanted(pending)["template"]["spec"]["nodeSelector"] == {"a": "b"}


def test_the_present_operator_is_asked_with_the_result() -> None:
    """What it would render otherwise is a refresh; the result itself is none."""
    record, live = serving_fp8()
    older = replace(record, renderer="older")
    assert not made(REF, READY, older, live).target.refresh_available
    moved = Defaults({"gaudi": Image("registry.example/gaudi:v2", GAUDI_IMAGE.engine)})
    assert made(REF, READY, record, live, defaults=moved).target.refresh_available

"""Whatever is seen of a quantization: what always holds of the server that names it."""

from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.things import (
    ARTIFACTS,
    DEFAULT,
    deployment,
    kinds,
    observed,
    quantization,
    record_of,
    server,
)
from vllm_operator.api.observed import Observed, QuantizationState, RecordFacts
from vllm_operator.desired import records
from vllm_operator.desired.manifests import Desired
from vllm_operator.desired.server import basis, desired
from vllm_operator.status.server import judge

BASE = {"device": "gaudi"}
NOW = "2026-01-02T03:05:00Z"


def record(spec: dict[str, Any], revision: int, state: QuantizationState | None = None) -> RecordFacts:
    made = desired(observed(server(BASE | spec), quantization=state), DEFAULT)
    return replace(record_of(kinds(made.manifests)["ControllerRevision"]), revision=revision)


NAMED: dict[str, Any] = {"fp8": {"quantizationRef": {"name": "q"}}}
BF16, FP8 = record({}, 1), record(NAMED, 2, quantization())
NEWER = record(NAMED, 3, quantization(result=ARTIFACTS._replace(sha256="beef")))
DYNAMIC = record({"fp8": {"mode": "Dynamic"}}, 4)
RECORDS = (BF16, FP8, NEWER, DYNAMIC)

STATES = st.none() | st.builds(
    quantization,
    model=st.sampled_from(["org/model", "org/model", "org/other", ""]),
    revision=st.sampled_from([None, None, "v1"]),
    commit=st.sampled_from(["", "", "0" * 40]),
    claim=st.sampled_from(["chat-cache", "chat-cache", "weights"]),
    engine=st.sampled_from(["vllm-gaudi 0.26", "vllm-gaudi 0.26.1", "vllm-gaudi 0.27"]),
    world_size=st.sampled_from([1, 1, 2]),
    result=st.sampled_from([None, ARTIFACTS, ARTIFACTS._replace(generation="g3", sha256="cafe")]),
    failure=st.sampled_from(["", "", "CalibrationFailed: x"]),
    waits=st.sampled_from(["", "WaitingForAccelerators"]),
)
SPECS = st.fixed_dictionaries(
    {
        "fp8": st.builds(
            lambda pending: NAMED["fp8"] | pending, st.sampled_from([{}, {"whilePending": "Wait"}])
        )
    },
    optional={
        "replicas": st.sampled_from([0, 2]),
        "tensorParallelSize": st.just(2),
        "engineArgs": st.just({"maxNumSeqs": 8}),
        "model": st.just({"name": "org/model", "revision": "v1"}),
        "prefetch": st.just(True),
    },
)
LIVE = st.none() | st.builds(
    lambda of, wanted, manager: deployment(
        record=of.name.removeprefix("chat-"), wanted_replicas=wanted, replicas_manager=manager
    ),
    st.sampled_from(RECORDS),
    st.sampled_from([0, 1, 3]),
    st.sampled_from([None, "hpa"]),
)
SEEN = st.builds(
    lambda spec, state, live, known: observed(
        server(BASE | spec), *known, *([live] if live else []), quantization=state
    ),
    SPECS,
    STATES,
    LIVE,
    st.lists(st.sampled_from(RECORDS), unique=True),
)


def template(made: Desired[Any]) -> dict[str, Any] | None:
    found = kinds(made.manifests).get("Deployment")
    return found["spec"]["template"] if found else None


def in_fp8(of: dict[str, Any]) -> bool:
    """Whether a template serves in FP8; all that belongs to that is there, or none of it."""
    container = of["spec"]["containers"][0]
    variables = [each["name"] for each in container["env"]]
    assert ("--quantization" in container["args"]) is ("QUANT_CONFIG" in variables)
    assert ("--kv-cache-dtype" in container["args"]) is ("initContainers" in of["spec"])
    return "QUANT_CONFIG" in variables


def fits(seen: Observed) -> bool:
    """Whether the result is there and for this server, told here once more."""
    state, spec = seen.quantization, seen.server.spec
    return (
        state is not None
        and state.result is not None
        and (state.model, state.claim, state.world_size)
        == ("org/model", "chat-cache", spec.tensor_parallel_size)
        and state.engine.startswith("vllm-gaudi 0.26")
        and state.revision == spec.model.revision
    )


@settings(max_examples=400)
@given(SEEN)
def test_a_revision_in_fp8_is_made_of_a_result_that_fits(seen: Observed) -> None:
    made = desired(seen, DEFAULT)
    new = kinds(made.manifests).get("ControllerRevision")
    if new is None:
        return
    known = [each.quantization for each in seen.records if each.quantization]
    used = record_of(new).quantization
    assert in_fp8(new["data"]["template"]) is (used is not None)
    assert used is None or fits(seen) or used in known


@settings(max_examples=400)
@given(SEEN)
def test_what_serves_in_fp8_never_goes_back_to_bf16_by_itself(seen: Observed) -> None:
    running, made = records.running(seen), template(desired(seen, DEFAULT))
    if running is not None and running.fp8:
        assert made is not None
        assert in_fp8(made)


@settings(max_examples=400)
@given(SEEN)
def test_only_who_waits_is_left_without_pods(seen: Observed) -> None:
    made = desired(seen, DEFAULT)
    found = kinds(made.manifests).get("Deployment")
    spec = seen.server.spec
    if found is None or found["spec"].get("replicas") != 0 or spec.replicas == 0:
        return
    assert spec.fp8 is not None
    assert spec.fp8.while_pending == "Wait"
    assert not in_fp8(found["spec"]["template"])


@settings(max_examples=400)
@given(SEEN)
def test_conditions_are_of_one_mind(seen: Observed) -> None:
    status = judge(seen, desired(seen, DEFAULT).target, previous={}, now=NOW)
    said = {each.type: each for each in status.conditions or []}
    assert said["Ready"].status == "True" or {"Stalled", "Reconciling"} & set(said)
    assert len({"Stalled", "Reconciling"} & set(said)) <= 1
    quantized = said["Quantized"]
    assert quantized.message
    assert ".." not in quantized.message.replace("=...", "")
    if quantized.status == "True":
        assert status.precision == "fp8"
    if status.precision == "bf16":
        assert status.quantization is None
        assert quantized.status == "False"
    if quantized.reason.endswith("Mismatch"):
        assert "spec." in quantized.message


@settings(max_examples=400)
@given(SEEN, STATES, LIVE)
def test_the_same_basis_makes_the_same(seen: Observed, state: QuantizationState | None, live: Any) -> None:
    children = dict(seen.children)
    if live is not None:
        children["Deployment", "chat"] = live
    other = replace(seen, quantization=state, children=children)
    if basis(seen) == basis(other):
        assert desired(seen, DEFAULT) == desired(other, DEFAULT)

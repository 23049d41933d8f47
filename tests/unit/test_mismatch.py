"""What a server and a quantization must have in common, and what is said where they have not."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.things import ARTIFACTS, DEFAULT, observed, quantization, server
from vllm_operator.api.observed import Cached, Prefetch, Quantizing
from vllm_operator.api.reasons import Reason
from vllm_operator.desired import promotion, records

A, B = "a" * 40, "b" * 40
REF = {"quantizationRef": {"name": "q"}}


def judged(
    spec: dict[str, Any] | None = None, *, own: str | None = None, later: bool = False, **facts: Any
) -> Quantizing:
    """How it stands with a small server that names a quantization of these facts.

    `own` is the commit that the server's cache holds; with `later` a prefetch has yet to tell.
    """
    of = server({"device": "gaudi", "fp8": REF} | (spec or {}))
    seen = observed(of, quantization=quantization(**facts))
    cached = Cached(own, "/data/hub") if own else None
    prefetch = Prefetch("job", cached) if own or later else None
    found = promotion.find(seen, records.image(seen, DEFAULT)[0], prefetch, DEFAULT)
    assert found is not None
    return found


def test_what_fits() -> None:
    found = judged()
    assert (found.reason, found.precision, found.stalled, found.waits) == (
        Reason.QUANTIZED,
        "fp8",
        False,
        False,
    )
    assert found.used is not None
    assert found.used == ("q", ARTIFACTS)


MISMATCHES: dict[str, tuple[dict[str, Any], Reason, tuple[str, ...]]] = {
    "model": ({"model": "org/other"}, Reason.MODEL_MISMATCH, ("spec.model.name", "'org/other'", "get fp8q`")),
    "claim": (
        {"claim": "weights"},
        Reason.CACHE_MISMATCH,
        ("spec.cache", "claim chat-cache", "claim weights", "spec.cache.claimName weights"),
    ),
    "engine": (
        {"engine": "vllm-gaudi 0.27"},
        Reason.ENGINE_MISMATCH,
        ("spec.image", "vllm-gaudi 0.26", "0.27", "`kubectl -n ns get fp8q q -o jsonpath='{.status.image}'`"),
    ),
    "size": (
        {"world_size": 2},
        Reason.TENSOR_PARALLEL_MISMATCH,
        (
            "spec.tensorParallelSize is 1",
            "is for 2",
            """`kubectl -n ns patch vllm chat --type=merge -p '{"spec":{"tensorParallelSize":2}}'`""",
        ),
    ),
}


@pytest.mark.parametrize("name", MISMATCHES)
@pytest.mark.parametrize("ready", [True, False])
def test_a_mismatch_is_told_as_soon_as_it_is_known(name: str, ready: bool) -> None:
    facts, reason, says = MISMATCHES[name]
    found = judged(**(facts if ready else facts | {"result": None}))
    assert (found.reason, found.stalled, found.precision, found.used) == (reason, True, "bf16", None)
    for words in says:
        assert words in found.message


def test_a_mismatch_is_told_before_a_failure() -> None:
    """To mend the failure would help nobody."""
    assert judged(world_size=2, result=None, failure="CalibrationFailed: x").reason == (
        Reason.TENSOR_PARALLEL_MISMATCH
    )


def test_patch_versions_of_an_engine_are_alike() -> None:
    assert judged(engine="vllm-gaudi 0.26.3").reason == Reason.QUANTIZED
    assert judged(engine="vllm 0.26").reason == Reason.ENGINE_MISMATCH
    assert judged(engine="").reason == Reason.ENGINE_MISMATCH


def test_the_generation_counts_where_one_is_asked_for() -> None:
    found = judged({"gaudi": {"generation": "g3"}})
    assert (found.reason, found.stalled) == (Reason.GENERATION_MISMATCH, True)
    assert """-p '{"spec":{"gaudi":{"generation":"g2"}}}'`""" in found.message
    assert judged({"gaudi": {"generation": "g2"}}).reason == Reason.QUANTIZED
    # On which cards it will be measured nobody knows before.
    assert judged({"gaudi": {"generation": "g3"}}, result=None).reason == Reason.CALIBRATING


@pytest.mark.parametrize(
    ("own", "its", "reason"),
    [(A, A, Reason.QUANTIZED), (A, B, Reason.MODEL_MISMATCH)],
)
def test_the_commit_that_the_cache_holds_counts(own: str, its: str, reason: Reason) -> None:
    """Whatever the revisions are called: a branch may have moved between two prefetches."""
    for revision, of in ((None, None), ("main", "main"), ("main", None), (its, "v1")):
        model = {"name": "org/model"} | ({"revision": revision} if revision else {})
        found = judged({"model": model}, own=own, revision=of, commit=its)
        assert found.reason == reason, (revision, of)


def test_another_commit_is_told_while_it_is_measured() -> None:
    found = judged(own=A, result=None, commit=B)
    assert (found.reason, found.stalled) == (Reason.MODEL_MISMATCH, True)
    assert f"the cache holds {A}" in found.message
    assert f"""-p '{{"spec":{{"model":{{"revision":"{B}"}}}}}}'`""" in found.message


@pytest.mark.parametrize(
    ("revision", "its", "reason"),
    [
        (None, None, Reason.QUANTIZED),
        ("v1", "v1", Reason.QUANTIZED),
        (A, "v1", Reason.QUANTIZED),
        (A, None, Reason.QUANTIZED),
        ("v1", None, Reason.MODEL_MISMATCH),
        (None, "v1", Reason.MODEL_MISMATCH),
        (B, "v1", Reason.MODEL_MISMATCH),
    ],
)
def test_without_a_prefetch_revisions_are_compared(
    revision: str | None, its: str | None, reason: Reason
) -> None:
    model = {"name": "org/model"} | ({"revision": revision} if revision else {})
    found = judged({"model": model}, revision=its, commit=A)
    assert found.reason == reason
    assert ("no prefetch says" in found.message) is (reason == Reason.MODEL_MISMATCH)


@pytest.mark.parametrize(
    ("revision", "its", "reason"),
    [
        (None, None, Reason.QUANTIZED),
        ("v1", "v1", Reason.QUANTIZED),
        ("v1", "v2", Reason.MODEL_MISMATCH),
        ("v1", None, Reason.MODEL_MISMATCH),
    ],
)
@pytest.mark.parametrize("own", [None, A])
def test_of_a_result_without_a_commit_names_and_revisions_are_compared(
    own: str | None, revision: str | None, its: str | None, reason: Reason
) -> None:
    """Artefacts that were made by hand, or a model below /data."""
    model = {"name": "org/model"} | ({"revision": revision} if revision else {})
    assert judged({"model": model}, own=own, revision=its, commit="").reason == reason


def test_revisions_say_nothing_while_their_commits_may_be_alike() -> None:
    """`main` and unset may be one commit: who waits for a prefetch waits for it."""
    model = {"name": "org/model", "revision": "main"}
    assert judged({"model": model}, result=None).reason == Reason.CALIBRATING
    found = judged({"model": model, "prefetch": True}, later=True, commit=A)
    assert (found.reason, found.waits, found.held) == (Reason.PREFETCHING, True, False)
    assert found.used is not None
    # What is known already is told.
    assert judged({"prefetch": True}, later=True, commit=A, world_size=2).reason == (
        Reason.TENSOR_PARALLEL_MISMATCH
    )


def test_a_quantization_that_cannot_be_read_has_failed() -> None:
    blank: dict[str, Any] = {"model": "", "claim": "", "engine": "", "world_size": 0, "result": None}
    found = judged(**blank, failure="InvalidSpec: spec.dataset: x.")
    assert (found.reason, found.stalled) == (Reason.QUANTIZATION_FAILED, True)
    assert "has failed: InvalidSpec: spec.dataset: x. See `kubectl -n ns describe fp8q q`" in found.message


PATHS = st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="/"), min_size=1).filter(
    lambda part: part not in (".", "..")
)


@given(PATHS, PATHS)
def test_any_model_is_compared_as_it_stands(own: str, its: str) -> None:
    found = judged({"model": {"name": f"/data/{own}"}}, model=f"/data/{its}")
    assert found.reason == (Reason.QUANTIZED if own == its else Reason.MODEL_MISMATCH)
    assert own == its or repr(f"/data/{its}") in found.message

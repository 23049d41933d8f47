"""Every leaf of FP8Quantization has an effect: where it is told, what it is told, and nothing else."""

import json
from typing import Any

import pytest

from tests.campaign.base import edited
from tests.campaign.quantizations import BASES, COMMIT, rows
from tests.campaign.table import OTHER, Row
from tests.campaign.view import View, by_name, difference, expected, flat
from tests.cases.schemas import SPECS, places
from tests.cases.table import QUANTIZATION
from tests.unit.things import EVERY_NODE, job
from vllm_operator.api.fp8quantization import FP8Quantization
from vllm_operator.api.meta import InvalidObjectError
from vllm_operator.api.observed import Artifacts
from vllm_operator.api.quantized import ObservedQuantization, QuantizationRecord, Result, Staged
from vllm_operator.api.reasons import StalledError
from vllm_operator.api.seen import Child, Manifest
from vllm_operator.desired import calibration, names

ALL = rows()
ROWS = {row.name: row for row in ALL}
NODES = {path: optional for path, _, optional in places(SPECS[QUANTIZATION])}
LEAVES = [path for path, is_leaf, _ in places(SPECS[QUANTIZATION]) if is_leaf]
STAGED = Staged(COMMIT, names.HUB, "/data/datasets/a.pkl", "f" * 64)


def quantization(spec: dict[str, Any]) -> FP8Quantization:
    metadata = {"name": "llama", "namespace": "ns", "uid": "uid-1", "generation": 1}
    return FP8Quantization.parse({"metadata": metadata, "spec": spec})


def observed(of: FP8Quantization, *children: Child) -> ObservedQuantization:
    by_ref = {(child.kind, child.name): child for child in children}
    return ObservedQuantization(quantization=of, children=by_ref, claim=None, pods=())


def record(of: FP8Quantization, data: dict[str, Any], result: Result | None = None) -> QuantizationRecord:
    return QuantizationRecord(
        kind="ControllerRevision",
        name="record",
        uid="uid-of-record",
        resource_version=1,
        owner=of.uid,
        resource=(of.kind, of.name),
        deleting=False,
        digest=b"",
        revision=1,
        image=data["image"],
        engine=data["engine"],
        staged=Staged(**data["staged"]) if "staged" in data else STAGED,
        result=result,
    )


def view(spec: dict[str, Any]) -> View:
    """What children of a quantization say in the course of its life; Jobs are known by their component."""
    of = quantization(spec)
    first = calibration.desired(observed(of), EVERY_NODE).manifests
    (data,) = (manifest["data"] for manifest in first if manifest["kind"] == "ControllerRevision")
    staged = calibration.desired(observed(of, record(of, data)), EVERY_NODE)
    fingerprint = staged.target.fingerprint
    assert fingerprint is not None
    found = flat("record", data) | {"fingerprint": fingerprint}
    for manifest in (*first, *staged.manifests):
        if manifest["kind"] == "Job":
            found |= _job(manifest, fingerprint)
        elif manifest["kind"] == "NetworkPolicy":
            component = manifest["metadata"]["labels"][names.COMPONENT]
            found |= flat(f"{component}.policy", manifest["spec"])
        elif manifest["kind"] == "ServiceAccount":
            found["account.name"] = manifest["metadata"]["name"]
    end = _expiry(of, data, fingerprint)
    return found | ({"expiry": end} if end else {})


def _expiry(of: FP8Quantization, data: dict[str, Any], fingerprint: str) -> str | None:
    artifacts = Artifacts(fingerprint, "/data/a", "/data/a/m", "/data/a/q", "g3", "beef")
    times = ("2026-01-02T03:00:00Z", "2026-01-02T04:00:00Z")
    done = record(of, data, Result(artifacts, 1, 1, 1, 1, *times))
    seen = observed(of, done, job(names.calibration_job(of, fingerprint)))
    return calibration.expiry(seen, calibration.aim(seen, EVERY_NODE))


def _job(manifest: Manifest, fingerprint: str) -> View:
    body = json.loads(json.dumps(manifest).replace(fingerprint, "FINGERPRINT"))
    spec = body["spec"]
    template = spec.pop("template")
    pod = template["spec"]
    (container,) = pod.pop("containers")
    labels, annotations = template["metadata"]["labels"], template["metadata"].get("annotations", {})
    parts = {
        "job": {"spec": spec, "annotations": body["metadata"].get("annotations", {})},
        "args": _arguments(container.pop("args")),
        "env": {each.pop("name"): each for each in container.pop("env")},
        "labels": labels,
        "annotations": annotations,
        "pod": by_name(pod),
        "container": by_name(container),
    }
    return flat(body["metadata"]["labels"][names.COMPONENT], parts)


def _arguments(words: list[str]) -> dict[str, str]:
    """The words of a program: each flag with those that follow it, every time that it comes."""
    found: dict[str, str] = {}
    flag = "model"
    for word in words:
        if word.startswith("--"):
            flag = word
            found.setdefault(flag, "")
        else:
            found[flag] = f"{found.get(flag, '')} {word}".strip()
    return found


BASE_VIEWS = {name: view(spec) for name, spec in BASES.items()}


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS.keys())
def test_a_leaf_has_its_effect(row: Row) -> None:
    spec = edited(BASES[row.base], row.change)
    if row.refused:
        with pytest.raises(InvalidObjectError, match=row.refused):
            quantization(spec)
        return
    if row.stalled:
        reason, words = row.stalled
        with pytest.raises(StalledError, match=words) as stalled:
            view(spec)
        assert stalled.value.reason.value == reason
        return
    base = BASE_VIEWS[row.base]
    found = difference(base, view(spec))
    if "fingerprint" in found:
        found["fingerprint"] = OTHER
    assert found == expected(base, row.seen)


def test_every_leaf_has_a_row_and_every_row_a_leaf() -> None:
    told = {row.leaf for row in ALL}
    assert set(LEAVES) - told == set()
    assert told - set(NODES) == set()
    assert len(ROWS) == len(ALL), "two rows are the same"


def test_every_leaf_has_a_row_that_is_not_without_effect() -> None:
    effective = {row.leaf for row in ALL if row.seen or row.refused}
    assert set(LEAVES) - effective == set()


def test_every_optional_leaf_is_taken_away_too() -> None:
    taken = set().union(*(row.removed for row in ALL))
    kept = {
        leaf
        for leaf in LEAVES
        if NODES[leaf]
        and not any(leaf == node or leaf.startswith((f"{node}.", f"{node}[")) for node in taken)
    }
    assert kept == set()


@pytest.mark.parametrize(("tried", "goes"), [(0, True), (1, False), (2, False)])
def test_a_raised_retry_takes_a_failed_job_away(tried: int, goes: bool) -> None:
    of = quantization(BASES["plain"])  # its retry is 1
    failed = "BackoffLimitExceeded: Job has reached the specified backoff limit"
    known = record(of, {"image": "registry.example/vllm:v1", "engine": "vllm-gaudi 0.26"})
    target = calibration.aim(observed(of, known), EVERY_NODE)
    assert target.job is not None
    for end, taken in ((failed, goes), ("", False)):
        seen = observed(of, known, job(target.job, failed=end, retry=tried))
        old = calibration.superfluous(seen, {("Job", target.job)}, target, "2026-01-02T04:00:00Z")
        assert [child.name for child in old] == ([target.job] if taken else [])

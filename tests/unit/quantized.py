"""A quantization in the course of its life, for the tests of what should be and of what is true of it."""

import json
from typing import Any

from tests.unit.things import EVERY_NODE, job, pod
from vllm_operator.api.fp8quantization import FP8Quantization
from vllm_operator.api.quantized import ObservedQuantization, QuantizationRecord, QuantizationTarget, User
from vllm_operator.api.seen import Child, JobFacts, PodFacts
from vllm_operator.controller import facts
from vllm_operator.desired import calibration, names

COMMIT = "c" * 40
NOW = "2026-01-02T04:00:00Z"
SPEC: dict[str, Any] = {
    "model": {"name": "org/Model", "trustRemoteCode": True},
    "cache": {"claimName": "weights"},
    "dataset": {"huggingFace": {"name": "org/data"}},
}
EXISTING: dict[str, Any] = {**SPEC, "dataset": None, "existing": {"path": "/data/inc/model"}}
STAGED = {
    "commit": COMMIT,
    "files": 1,
    "bytes": 1,
    "downloaded": 1,
    "adopted": {"files": 0},
    "cache": "/data/hub",
    "dataset": {"path": "/data/datasets/a.pkl", "sha256": "a" * 64, "bytes": 1},
}


def quantization(spec: dict[str, Any] | None = None, uid: str = "uid-1") -> FP8Quantization:
    metadata = {"name": "llama", "namespace": "ns", "uid": uid, "generation": 1}
    return FP8Quantization.parse({"metadata": metadata, "spec": SPEC | (spec or {})})


def observed(
    spec: dict[str, Any] | None = None,
    *children: Child,
    pods: tuple[PodFacts, ...] = (),
    users: tuple[User, ...] = (),
    **seen: Any,
) -> ObservedQuantization:
    by_ref = {(each.kind, each.name): each for each in children}
    return ObservedQuantization(
        quantization=quantization(spec), children=by_ref, claim=None, pods=pods, users=users, **seen
    )


def aim(found: ObservedQuantization) -> QuantizationTarget:
    return calibration.aim(found, EVERY_NODE)


def ended(of: JobFacts, said: Any, code: int = 0, component: str = names.PREFETCH, **more: Any) -> PodFacts:
    """A pod of a Job that has ended with a report."""
    words = said if isinstance(said, str) else json.dumps(said)
    plain: dict[str, Any] = {"record": None, "ready": False, "ended_at": NOW, "container": component}
    plain |= {"job": of.name, "job_uid": of.uid, "exit_code": code, "last_words": words}
    return pod(**(plain | more))


def report(fingerprint: str, **other: Any) -> dict[str, Any]:
    output = f"/data/inc/{fingerprint}/model"
    return {
        "output": output,
        "manifest": f"{output}/manifest.json",
        "quantConfig": f"{output}/maxabs_quant_g2.json",
        "generation": "g2",
        "worldSize": 1,
        "samples": 512,
        "files": 9,
        "bytes": 99,
        "sha256": "f" * 64,
        "reused": False,
    } | other


def recorded(found: ObservedQuantization, revision: int = 1) -> QuantizationRecord:
    """The record that is wanted now, as it is stored."""
    made = calibration.desired(found, EVERY_NODE).manifests
    (manifest,) = [each for each in made if each["kind"] == "ControllerRevision"]
    manifest["metadata"] |= {"uid": f"uid-{revision}", "resourceVersion": "1"}
    made_facts = facts.child("ControllerRevision", manifest | {"revision": revision})
    assert isinstance(made_facts, QuantizationRecord)
    return made_facts


def staging(spec: dict[str, Any] | None = None, said: Any = STAGED) -> ObservedQuantization:
    """One whose prefetch has ended with a report."""
    fetch = job(aim(observed(spec)).job or "", uid="uid-fetch")
    return observed(spec, fetch, pods=(ended(fetch, said),))


def measuring(spec: dict[str, Any] | None = None) -> tuple[QuantizationRecord, str]:
    """The record of what is staged, and the fingerprint of the calibration."""
    found = staging(spec)
    fingerprint = aim(found).fingerprint
    assert fingerprint
    return recorded(found), fingerprint


def calibration_job(fingerprint: str, **more: Any) -> JobFacts:
    return job(names.calibration_job(quantization(), fingerprint), uid="uid-measure", **more)


def measured(spec: dict[str, Any] | None = None, **said: Any) -> ObservedQuantization:
    """One whose calibration has ended with a report; `said` replaces parts of it."""
    record, fingerprint = measuring(spec)
    of = calibration_job(fingerprint)
    done = ended(of, report(fingerprint, **said), component=names.CALIBRATION)
    return observed(spec, record, of, pods=(done,))

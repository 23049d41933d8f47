"""Quantizations that fail, are tried again, lose their Jobs, or are replaced in mid-flight."""

import json
from typing import Any

import pytest

from tests.cluster import prefetching, quantizing, support
from tests.cluster.prefetching import ACT, AGAIN
from tests.cluster.quantizing import KIND, quantization
from tests.harness.api import Api, Object, condition
from tests.harness.audit import Audit
from tests.harness.operator import OperatorProcess


@pytest.fixture(autouse=True)
def claim(api: Api, namespace: str) -> None:
    quantizing.make_claim(api, namespace)


def _measuring(api: Api, namespace: str, **spec: Any) -> Object:
    """Bring a quantization to where its calibration runs, and return that Job."""
    support.put(api, quantization(namespace, life="held", **spec))
    prefetching.end(api, namespace, quantizing.job(api, namespace, "prefetch"), message=quantizing.staged())
    return quantizing.job(api, namespace, "calibration")


def _said(reason: str, message: str) -> str:
    return json.dumps({"reason": reason, "message": message})


def test_a_failure_says_how_to_try_again_and_raising_retry_does(
    api: Api, namespace: str, operator: OperatorProcess
) -> None:
    job = _measuring(api, namespace)
    prefetching.end(api, namespace, job, ACT, _said("SamplesMissing", "3 of 512 samples were measured."))
    words = support.wait_stalled(api, namespace, "llama", "SamplesMissing", "3 of 512", of=KIND)
    line = f'kubectl -n {namespace} patch fp8q llama --type=merge -p \'{{"spec":{{"retry":1}}}}\''
    assert line in words
    api.patch(KIND, namespace, "llama", {"spec": {"retry": 1}})
    again = quantizing.job(api, namespace, "calibration", but=job["metadata"]["uid"])
    assert again["metadata"]["name"] == job["metadata"]["name"]
    prefetching.end(api, namespace, again, message=quantizing.result(again))
    quantizing.wait_ready(api, namespace)


def test_raising_retry_leaves_alone_what_runs_and_what_is_done(
    api: Api, namespace: str, operator: OperatorProcess, audit: Audit
) -> None:
    job = _measuring(api, namespace)
    prefetching.running_pod(api, namespace, job)
    api.patch(KIND, namespace, "llama", {"spec": {"retry": 1}})
    support.wait_reconciling(api, namespace, "llama", "Calibrating", of=KIND)
    assert quantizing.job(api, namespace, "calibration")["metadata"]["uid"] == job["metadata"]["uid"]
    prefetching.end(api, namespace, job, message=quantizing.result(job))
    quantizing.wait_ready(api, namespace)
    api.patch(KIND, namespace, "llama", {"spec": {"retry": 2}})
    quantizing.wait_ready(api, namespace)
    support.wait_at_rest(audit, operator, namespace)
    assert quantizing.job(api, namespace, "calibration")["metadata"]["uid"] == job["metadata"]["uid"]


def test_a_try_that_may_help_is_made_by_itself(api: Api, namespace: str, operator: OperatorProcess) -> None:
    job = _measuring(api, namespace)
    first = prefetching.end(api, namespace, job, AGAIN, _said("CalibrationFailed", "the driver was reset"))
    support.wait_reconciling(api, namespace, "llama", "CalibrationFailed", "It is tried again", of=KIND)

    def second() -> str | None:
        name = str(prefetching.running_pod(api, namespace, job)["metadata"]["name"])
        return name if name != first else None

    api.wait_for(second, timeout=support.READY_SECONDS, message="another pod")
    prefetching.end(api, namespace, job, message=quantizing.result(job))
    quantizing.wait_ready(api, namespace)


@pytest.mark.parametrize(
    "wrong",
    [
        {"worldSize": 8},
        {"generation": "g4"},
        {"output": "/data/inc/other/model"},
        {"quantConfig": "/etc/passwd"},
        {"sha256": None, "files": "many"},
    ],
    ids=str,
)
def test_a_report_of_something_else_is_believed_in_nothing(
    api: Api, namespace: str, operator: OperatorProcess, wrong: dict[str, Any]
) -> None:
    job = _measuring(api, namespace)
    prefetching.end(api, namespace, job, message=quantizing.result(job, **wrong))
    support.wait_stalled(api, namespace, "llama", "CalibrationFailed", "not what was asked for", of=KIND)


def test_a_deleted_job_is_made_anew_until_there_is_a_result(
    api: Api, namespace: str, operator: OperatorProcess, audit: Audit
) -> None:
    job = _measuring(api, namespace)
    api.delete("Job", namespace, job["metadata"]["name"], propagation="Background")
    again = quantizing.job(api, namespace, "calibration", but=job["metadata"]["uid"])
    prefetching.end(api, namespace, again, message=quantizing.result(again))
    ready = quantizing.wait_ready(api, namespace)
    api.delete("Job", namespace, again["metadata"]["name"], propagation="Background")
    api.wait_gone("Job", namespace, again["metadata"]["name"])
    support.wait_at_rest(audit, operator, namespace)
    assert api.list("Job", namespace) == []
    kept = quantizing.wait_ready(api, namespace)
    assert kept["status"]["artifacts"] == ready["status"]["artifacts"]
    assert "jobName" not in kept["status"]


def test_what_an_earlier_quantization_began_is_never_the_result_of_its_successor(
    api: Api, namespace: str, operator: OperatorProcess
) -> None:
    job = _measuring(api, namespace)
    pod = prefetching.running_pod(api, namespace, job)["metadata"]["name"]
    # Without the garbage collector the Job stays, as it may for a while in a busy cluster.
    api.delete(KIND, namespace, "llama", propagation="Orphan")
    api.wait_gone(KIND, namespace, "llama")
    support.put(api, quantization(namespace, life="held"))
    end = {"test-end": "0", "test-message": quantizing.result(job)}
    api.patch("Pod", namespace, pod, {"metadata": {"annotations": end}})
    words = support.wait_stalled(api, namespace, "llama", "NotOwned", of=KIND)
    assert "does not belong to this FP8Quantization" in words
    assert condition(api.get(KIND, namespace, "llama") or {}, "Calibrated").get("status") != "True"


def test_a_job_is_deleted_in_its_time_and_the_result_stays(
    api: Api, namespace: str, operator: OperatorProcess
) -> None:
    support.put(api, quantization(namespace, ttlSecondsAfterFinished=1))
    name = quantizing.wait_ready(api, namespace)["status"]["fingerprint"][:8]
    api.wait_gone("Job", namespace, f"llama-fp8q-{name}")
    quantizing.wait_ready(api, namespace)


def test_existing_artefacts_are_checked_without_cards_and_without_a_download(
    api: Api, namespace: str, operator: OperatorProcess
) -> None:
    given = quantization(namespace, existing={"path": "/data/inc/llama"}, tensorParallelSize=8)
    del given["spec"]["dataset"]
    created = support.put(api, given)
    ready = quantizing.wait_ready(api, namespace)
    assert ready["status"]["outputPath"] == "/data/inc/llama"
    assert "modelRevision" not in ready["status"]
    (job,) = prefetching.uids(prefetching.jobs_since(api, namespace, created))
    assert job == quantizing.job(api, namespace, "calibration")["metadata"]["uid"]
    made = quantizing.job(api, namespace, "calibration")["spec"]["template"]["spec"]["containers"][0]
    assert "habana.ai/gaudi" not in json.dumps(made["resources"])


def test_a_claim_that_is_missing_is_named(api: Api, namespace: str, operator: OperatorProcess) -> None:
    support.put(api, quantization(namespace, cache={"claimName": "nowhere"}))
    words = support.wait_reconciling(api, namespace, "llama", "CacheUnbound", of=KIND)
    assert "Claim nowhere does not exist" in words


def test_an_engine_without_profile_stalls(api: Api, namespace: str, operator: OperatorProcess) -> None:
    engine = {"family": "vllm-gaudi", "version": "0.1"}
    support.put(api, quantization(namespace, image="registry.example/old:1", engine=engine))
    support.wait_stalled(api, namespace, "llama", "InvalidForEngine", "spec.engine", of=KIND)

"""A quantization from apply to its result: two Jobs, of which each may do what it must, and a record."""

import json

import pytest

from tests.cluster import prefetching, quantizing, support
from tests.cluster.prefetching import COMMIT
from tests.cluster.quantizing import KIND, quantization
from tests.harness.api import Api, Object, condition
from tests.harness.audit import Audit
from tests.harness.operator import OperatorProcess

SECRET = {"name": "hf", "key": "HF_TOKEN"}
GATED: Object = {"name": "org/gated", "trustRemoteCode": True, "tokenSecretRef": SECRET}


@pytest.fixture(autouse=True)
def claim(api: Api, namespace: str) -> None:
    quantizing.make_claim(api, namespace)


def test_from_apply_to_the_result(api: Api, namespace: str, operator: OperatorProcess) -> None:
    created = support.put(api, quantization(namespace, tensorParallelSize=2, sampleLimit=512))
    ready = quantizing.wait_ready(api, namespace)
    status = ready["status"]
    fingerprint = status["fingerprint"]
    assert status["outputPath"] == f"/data/inc/{fingerprint}/model"
    assert status["quantConfigPath"] == f"/data/inc/{fingerprint}/model/maxabs_quant_g2.json"
    assert (status["generation"], status["worldSize"], status["samples"]) == ("g2", 2, 512)
    assert status["artifacts"] == {"files": 9, "bytes": 99, "sha256": "feed"}
    assert status["modelRevision"] == COMMIT
    assert status["jobName"] == f"llama-fp8q-{fingerprint[:8]}"
    assert status["startTime"] <= status["completionTime"]
    assert condition(ready, "ArtifactsVerified")["status"] == "True"

    def is_ready(obj: Object) -> bool:
        return bool(condition(obj, "Ready").get("status") == "True")

    states = support.history(api, KIND, namespace, created, is_ready)
    assert quantizing.reasons(states) == ["Prefetching", "Calibrating", "Calibrated"]
    (record,) = quantizing.records(api, namespace)
    assert record["data"]["staged"]["commit"] == COMMIT
    assert record["data"]["result"]["artifacts"]["fingerprint"] == fingerprint


def test_who_has_the_token_and_who_has_the_cards(api: Api, namespace: str, operator: OperatorProcess) -> None:
    api.create({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "hf", "namespace": namespace}})
    created = support.put(api, quantization(namespace, model=GATED, tensorParallelSize=8))
    quantizing.wait_ready(api, namespace)
    pods = support.history(
        api,
        "Pod",
        namespace,
        created,
        lambda obj: (
            obj["metadata"]["labels"].get("app.kubernetes.io/component") == "calibration"
            and obj.get("status", {}).get("phase") == "Succeeded"
        ),
    )
    specs = {pod["metadata"]["labels"]["app.kubernetes.io/component"]: pod["spec"] for pod in pods}
    fetches, measures = specs["prefetch"], specs["calibration"]
    assert prefetching.variables(fetches)["HF_TOKEN"]["valueFrom"]["secretKeyRef"] == SECRET
    assert "habana.ai/gaudi" not in json.dumps(fetches["containers"][0]["resources"])
    variables = prefetching.variables(measures)
    assert not {"HF_TOKEN", "HF_ENDPOINT"} & variables.keys()
    assert variables["HF_HUB_OFFLINE"]["value"] == "1"
    assert measures["containers"][0]["resources"]["limits"]["habana.ai/gaudi"] == "8"
    for spec in specs.values():
        assert spec["automountServiceAccountToken"] is False
        assert spec["serviceAccountName"] == "llama-fp8q"


def test_nothing_is_written_at_rest_and_after_a_restart(
    api: Api, namespace: str, operator: OperatorProcess, audit: Audit
) -> None:
    support.put(api, quantization(namespace))
    quantizing.wait_ready(api, namespace)
    support.wait_at_rest(audit, operator, namespace)
    mark = audit.mark()
    operator.stop()
    operator.start()
    support.wait_reconciles(api, operator, 1)
    support.wait_at_rest(audit, operator, namespace)
    assert support.written(audit, operator, mark) == []


@pytest.mark.parametrize("hard", [True, False], ids=["kill -9", "restart"])
def test_one_calibration_for_one_recipe_whatever_restarts(
    api: Api, namespace: str, operator: OperatorProcess, *, hard: bool
) -> None:
    def rise_again() -> None:
        operator.kill() if hard else operator.stop()
        operator.start()

    created = support.put(api, quantization(namespace, life="held"))
    fetch = quantizing.job(api, namespace, "prefetch")
    rise_again()
    prefetching.end(api, namespace, fetch, message=quantizing.staged())
    measure = quantizing.job(api, namespace, "calibration")
    rise_again()
    support.wait_reconciling(api, namespace, "llama", "Calibrating", of=KIND)
    operator.kill() if hard else operator.stop()
    prefetching.end(api, namespace, measure, message=quantizing.result(measure))  # nobody is there to see it
    operator.start()
    ready = quantizing.wait_ready(api, namespace)
    made = prefetching.uids(prefetching.jobs_since(api, namespace, created))
    assert made == [fetch["metadata"]["uid"], measure["metadata"]["uid"]]
    assert ready["status"]["artifacts"]["sha256"] == "beef"

"""What happens to a calibration, and to the operator, on the way to FP8; and a server serves meanwhile."""

from typing import Any

import pytest

from tests.cluster import prefetching, quantizing, support
from tests.cluster.quantizing import fp8_server, quantization
from tests.harness.api import Api, Object, condition
from tests.harness.operator import Cluster, OperatorProcess


@pytest.fixture(autouse=True)
def claim(api: Api, namespace: str) -> None:
    quantizing.make_claim(api, namespace)


def _serving(api: Api, namespace: str) -> tuple[int, set[str]]:
    """Return the generation of the server's Deployment, and its pods."""
    deployment = support.child(api, namespace, "Deployment", "chat")
    pods = {pod["metadata"]["uid"] for pod in prefetching.server_pods(api, namespace)}
    return deployment["metadata"]["generation"], pods


def _measuring(api: Api, namespace: str, **spec: Any) -> Object:
    support.put(api, fp8_server(namespace))
    support.wait_serving(api, namespace)
    support.put(api, quantization(namespace, life="held", **spec))
    prefetching.end(api, namespace, quantizing.job(api, namespace, "prefetch"), message=quantizing.staged())
    return quantizing.job(api, namespace, "calibration")


def _wait_fp8(api: Api, namespace: str) -> None:
    support.wait_condition(api, namespace, "chat", "Quantized", "True", kind="Quantized")
    assert support.wait_serving(api, namespace)["status"]["precision"] == "fp8"


def test_an_eviction_costs_a_try_and_touches_nothing_that_serves(
    api: Api, namespace: str, operator: OperatorProcess
) -> None:
    job = _measuring(api, namespace)
    before = _serving(api, namespace)
    first = prefetching.running_pod(api, namespace, job)["metadata"]["name"]
    api.patch("Pod", namespace, first, {"metadata": {"annotations": {"test-evict": "y"}}})

    def another() -> bool:
        name = prefetching.running_pod(api, namespace, job)["metadata"]["name"]
        return bool(name != first)

    api.wait_for(another, timeout=support.READY_SECONDS, message="another pod of the same Job")
    assert _serving(api, namespace) == before
    prefetching.end(api, namespace, job, message=quantizing.result(job))
    _wait_fp8(api, namespace)


def test_a_deleted_calibration_is_made_anew_and_touches_nothing_that_serves(
    api: Api, namespace: str, operator: OperatorProcess
) -> None:
    job = _measuring(api, namespace)
    before = _serving(api, namespace)
    api.delete("Job", namespace, job["metadata"]["name"], propagation="Background")
    again = quantizing.job(api, namespace, "calibration", but=job["metadata"]["uid"])
    assert _serving(api, namespace) == before
    prefetching.end(api, namespace, again, message=quantizing.result(again))
    _wait_fp8(api, namespace)


def test_cards_of_another_generation_are_named(cluster: Cluster, api: Api, namespace: str) -> None:
    told = {"VLLM_OPERATOR_GAUDI_G3_NODES": "kubernetes.io/os=linux"}
    with OperatorProcess(cluster, [namespace], told):
        support.put(api, quantization(namespace))
        quantizing.wait_ready(api, namespace)
        support.put(api, fp8_server(namespace, gaudi={"generation": "g3"}))
        words = support.wait_stalled(api, namespace, "chat", "GenerationMismatch")
        assert "spec.gaudi.generation is g3" in words
        support.wait_condition(api, namespace, "chat", "Serving", "True", kind="Available")


@pytest.mark.parametrize("hard", [True, False], ids=["kill -9", "restart"])
def test_whoever_restarts_the_operator_at_any_step_changes_nothing(
    api: Api, namespace: str, operator: OperatorProcess, *, hard: bool
) -> None:
    def rise_again() -> None:
        operator.kill() if hard else operator.stop()
        operator.start()

    created = support.put(api, fp8_server(namespace))
    rise_again()
    support.wait_serving(api, namespace)
    support.put(api, quantization(namespace, life="held"))
    fetch = quantizing.job(api, namespace, "prefetch")
    rise_again()
    prefetching.end(api, namespace, fetch, message=quantizing.staged())
    job = quantizing.job(api, namespace, "calibration")
    rise_again()
    before = _serving(api, namespace)
    operator.kill() if hard else operator.stop()
    prefetching.end(api, namespace, job, message=quantizing.result(job))
    assert _serving(api, namespace) == before
    operator.start()
    support.wait_condition(api, namespace, "chat", "Quantized", "True", kind="Quantized")
    rise_again()  # in the middle of the rollout, or just after it
    _wait_fp8(api, namespace)
    states = support.history(
        api,
        "Deployment",
        namespace,
        created,
        lambda obj: (
            obj.get("status", {}).get("readyReplicas") == 1
            and "QUANT_CONFIG" in str(obj["spec"]["template"])
            and obj["status"].get("updatedReplicas") == 1
        ),
    )
    templates = [obj["spec"]["template"]["metadata"]["labels"][support.RECORD_LABEL] for obj in states]
    assert len(dict.fromkeys(templates)) == 2, "BF16, then FP8, and nothing else"
    ready = quantizing.wait_ready(api, namespace)
    assert condition(ready, "ArtifactsVerified")["status"] == "True"

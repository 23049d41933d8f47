"""From BF16 to FP8 and back: a server that names a quantization, and what keeps it from FP8."""

import itertools
from typing import Any

import pytest

from tests.cluster import prefetching, quantizing, support
from tests.cluster.prefetching import ACT
from tests.cluster.quantizing import KIND, fp8_server, quantization
from tests.harness.api import Api, Object, condition
from tests.harness.audit import Audit
from tests.harness.manifests import is_ready
from tests.harness.operator import OperatorProcess


@pytest.fixture(autouse=True)
def claim(api: Api, namespace: str) -> None:
    quantizing.make_claim(api, namespace)


def wait_fp8(api: Api, namespace: str, name: str = "chat") -> Object:
    """Wait until a server serves in FP8."""
    support.wait_condition(api, namespace, name, "Quantized", "True", kind="Quantized")
    ready = support.wait_serving(api, namespace, name)
    assert ready["status"]["precision"] == "fp8"
    return ready


def wait_not_quantized(api: Api, namespace: str, reason: str, words: str = "") -> str:
    """Wait until a server says why it is not in FP8, and return the message."""
    obj = support.wait_condition(api, namespace, "chat", reason, "False", kind="Quantized", words=words)
    return str(condition(obj, "Quantized")["message"])


def pod_spec(api: Api, namespace: str, name: str = "chat") -> Any:
    return support.child(api, namespace, "Deployment", name)["spec"]["template"]["spec"]


def serving_pods(api: Api, namespace: str) -> set[str]:
    return {each["metadata"]["uid"] for each in prefetching.server_pods(api, namespace) if is_ready(each)}


@pytest.mark.parametrize("first", ["server", "quantization"])
def test_applied_in_any_order_they_end_in_a_server_in_fp8(
    api: Api, namespace: str, operator: OperatorProcess, first: str
) -> None:
    objects = [fp8_server(namespace, prefetch=True), quantization(namespace)]
    for obj in objects if first == "server" else reversed(objects):
        support.put(api, obj)
    ready = wait_fp8(api, namespace)
    found = quantizing.wait_ready(api, namespace)["status"]
    assert ready["status"]["quantization"] == {"name": "llama", "fingerprint": found["fingerprint"]}
    container = pod_spec(api, namespace)["containers"][0]
    assert (
        prefetching.variables(pod_spec(api, namespace))["QUANT_CONFIG"]["value"] == found["quantConfigPath"]
    )
    arguments = list(itertools.pairwise(container["args"]))
    assert ("--quantization", "inc") in arguments
    assert ("--kv-cache-dtype", "fp8_inc") in arguments
    (mount,) = [each for each in container["volumeMounts"] if each["mountPath"] == found["outputPath"]]
    assert mount["readOnly"] is True
    assert mount["subPath"] == found["outputPath"].removeprefix("/data/")


def test_bf16_serves_until_the_result_is_there_and_one_rollout_promotes(
    api: Api, namespace: str, operator: OperatorProcess
) -> None:
    support.put(
        api, support.server(namespace, device="gaudi", cache={"claimName": quantizing.CLAIM}, replicas=3)
    )
    support.wait_serving(api, namespace)
    before, record = serving_pods(api, namespace), support.record(api, namespace)
    support.put(api, quantization(namespace, life="held"))
    # To name the quantization restarts nothing.
    support.put(api, fp8_server(namespace, replicas=3))
    wait_not_quantized(api, namespace, "Calibrating")
    assert support.wait_serving(api, namespace)["status"]["precision"] == "bf16"
    assert (serving_pods(api, namespace), support.record(api, namespace)) == (before, record)
    assert "QUANT_CONFIG" not in prefetching.variables(pod_spec(api, namespace))
    prefetching.end(api, namespace, quantizing.job(api, namespace, "prefetch"), message=quantizing.staged())
    job = quantizing.job(api, namespace, "calibration")
    assert (serving_pods(api, namespace), support.record(api, namespace)) == (before, record)
    deployment = support.child(api, namespace, "Deployment", "chat")
    prefetching.end(api, namespace, job, message=quantizing.result(job))
    wait_fp8(api, namespace)

    def through(obj: Object) -> bool:
        status = obj.get("status", {})
        return bool(
            obj["metadata"]["name"] == "chat"
            and status.get("updatedReplicas") == status.get("readyReplicas") == status.get("replicas") == 3
            and obj["spec"]["template"]["metadata"]["labels"][support.RECORD_LABEL] != record
            and status.get("observedGeneration") == obj["metadata"]["generation"]
        )

    states = support.history(api, "Deployment", namespace, deployment, through)
    templates = {obj["spec"]["template"]["metadata"]["labels"][support.RECORD_LABEL] for obj in states}
    assert len(templates - {record}) == 1, "one revision promotes"
    # maxUnavailable is 1 on cards.
    assert min(obj["status"].get("readyReplicas", 0) for obj in states if "status" in obj) >= 2


def test_back_to_bf16_is_the_same_the_other_way(api: Api, namespace: str, operator: OperatorProcess) -> None:
    support.put(api, quantization(namespace))
    support.put(api, fp8_server(namespace))
    wait_fp8(api, namespace)
    support.put(api, support.server(namespace, device="gaudi", cache={"claimName": quantizing.CLAIM}))
    ready = support.wait_serving(api, namespace)
    assert ready["status"]["precision"] == "bf16"
    assert "quantization" not in ready["status"]
    assert not condition(ready, "Quantized")
    assert "QUANT_CONFIG" not in prefetching.variables(pod_spec(api, namespace))


MISMATCHES: dict[str, Object] = {
    "ModelMismatch": {"model": {"name": "Qwen/Other"}},
    "TensorParallelMismatch": {"tensorParallelSize": 2},
    "CacheMismatch": {"cache": {"size": "50Gi"}},
}


@pytest.mark.parametrize("reason", MISMATCHES)
def test_what_does_not_fit_is_named_and_bf16_serves(
    api: Api, namespace: str, operator: OperatorProcess, reason: str
) -> None:
    support.put(api, quantization(namespace))
    quantizing.wait_ready(api, namespace)
    obj = fp8_server(namespace)
    obj["spec"] |= MISMATCHES[reason]
    support.put(api, obj)
    words = wait_not_quantized(api, namespace, reason)
    assert "spec." in words
    support.wait_stalled(api, namespace, "chat", reason)
    support.wait_condition(api, namespace, "chat", "Serving", "True", kind="Available")
    assert support.child(api, namespace, "VLLMServer", "chat")["status"]["precision"] == "bf16"


def test_a_quantization_that_is_not_there_is_named_and_comes(
    api: Api, namespace: str, operator: OperatorProcess
) -> None:
    support.put(api, fp8_server(namespace))
    wait_not_quantized(api, namespace, "QuantizationNotFound", "llama")
    support.wait_serving(api, namespace)
    support.put(api, quantization(namespace))
    wait_fp8(api, namespace)


FAULTS: dict[str, Any] = {
    "failed": (ACT, '{"reason": "SamplesMissing", "message": "3 of 512."}'),
    "no report": (0, "done"),
    "of another world size": (0, {"worldSize": 8}),
    "of no generation": (0, {"generation": "g9"}),
    "elsewhere": (0, {"output": "/data/inc/other"}),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_calibration_that_goes_wrong_touches_nothing_that_serves(
    api: Api, namespace: str, operator: OperatorProcess, audit: Audit, fault: str
) -> None:
    support.put(api, fp8_server(namespace))
    support.wait_serving(api, namespace)
    support.put(api, quantization(namespace, life="held"))
    prefetching.end(api, namespace, quantizing.job(api, namespace, "prefetch"), message=quantizing.staged())
    job = quantizing.job(api, namespace, "calibration")
    before = support.child(api, namespace, "Deployment", "chat")
    pods = serving_pods(api, namespace)
    code, said = FAULTS[fault]
    message = said if isinstance(said, str) else quantizing.result(job, **said)
    prefetching.end(api, namespace, job, code, message)
    words = wait_not_quantized(api, namespace, "QuantizationFailed")
    assert "llama" in words
    support.wait_serving(api, namespace)
    after = support.child(api, namespace, "Deployment", "chat")
    assert after["metadata"]["generation"] == before["metadata"]["generation"]
    assert serving_pods(api, namespace) == pods
    support.wait_at_rest(audit, operator, namespace)


@pytest.mark.parametrize("mode", ["ServeBF16", "Wait"])
def test_what_serves_in_fp8_goes_on_whatever_becomes_of_its_quantization(
    api: Api, namespace: str, operator: OperatorProcess, audit: Audit, mode: str
) -> None:
    support.put(api, quantization(namespace))
    support.put(api, fp8_server(namespace, pending=mode))
    wait_fp8(api, namespace)
    pods, record = serving_pods(api, namespace), support.record(api, namespace)
    api.delete(KIND, namespace, "llama")
    seen = support.wait_condition(
        api, namespace, "chat", "QuantizationNotFound", "True", kind="Quantized", words="llama"
    )
    assert seen["status"]["precision"] == "fp8"
    support.wait_serving(api, namespace)
    # An edit goes on to roll, in FP8.
    support.put(api, fp8_server(namespace, pending=mode, engineArgs={"maxNumSeqs": 8}))
    support.wait_serving(api, namespace)
    assert "QUANT_CONFIG" in prefetching.variables(pod_spec(api, namespace))
    assert support.record(api, namespace) != record
    assert serving_pods(api, namespace).isdisjoint(pods)
    # A successor of the same name that is not done yet changes nothing either.
    pods = serving_pods(api, namespace)
    support.put(api, quantization(namespace, life="held"))
    quantizing.job(api, namespace, "prefetch")
    support.wait_at_rest(audit, operator, namespace)
    assert serving_pods(api, namespace) == pods


def test_what_serves_in_fp8_is_held_when_its_successor_does_not_fit(
    api: Api, namespace: str, operator: OperatorProcess
) -> None:
    support.put(api, quantization(namespace))
    support.put(api, fp8_server(namespace))
    wait_fp8(api, namespace)
    pods, record = serving_pods(api, namespace), support.record(api, namespace)
    support.put(api, fp8_server(namespace, tensorParallelSize=2))
    words = support.wait_stalled(api, namespace, "chat", "TensorParallelMismatch")
    assert "spec.fp8" in words
    assert (serving_pods(api, namespace), support.record(api, namespace)) == (pods, record)
    support.put(api, fp8_server(namespace))
    wait_fp8(api, namespace)
    assert serving_pods(api, namespace) == pods


def test_a_server_that_waits_has_no_pod_until_the_result_is_there(
    api: Api, namespace: str, operator: OperatorProcess
) -> None:
    support.put(api, support.server(namespace, device="gaudi", cache={"claimName": quantizing.CLAIM}))
    support.wait_serving(api, namespace)
    support.put(api, quantization(namespace, life="held"))
    support.put(api, fp8_server(namespace, pending="Wait"))
    support.wait_reconciling(api, namespace, "chat", "Calibrating")
    api.wait_for(lambda: not prefetching.server_pods(api, namespace), message="no pod of the server")
    prefetching.end(api, namespace, quantizing.job(api, namespace, "prefetch"), message=quantizing.staged())
    job = quantizing.job(api, namespace, "calibration")
    prefetching.end(api, namespace, job, message=quantizing.result(job))
    wait_fp8(api, namespace)
    assert support.child(api, namespace, "Deployment", "chat")["spec"]["replicas"] == 1


def test_two_servers_share_one_quantization(api: Api, namespace: str, operator: OperatorProcess) -> None:
    created = support.put(api, quantization(namespace))
    support.put(api, fp8_server(namespace, "one"))
    support.put(api, fp8_server(namespace, "two"))
    wait_fp8(api, namespace, "one")
    wait_fp8(api, namespace, "two")
    assert quantizing.wait_ready(api, namespace)["status"]["usedBy"] == ["one", "two"]
    jobs = prefetching.jobs_since(api, namespace, created)
    calibrations = [job for job in jobs if job["metadata"]["labels"].get(quantizing.QUANTIZATION_LABEL)]
    assert len(prefetching.uids(calibrations)) == 2, "one prefetch and one calibration"


def test_dynamic_fp8_needs_no_calibration(api: Api, namespace: str, operator: OperatorProcess) -> None:
    obj = support.server(namespace, device="gaudi", fp8={"mode": "Dynamic"})
    support.put(api, obj)
    ready = support.wait_serving(api, namespace)
    assert ready["status"]["precision"] == "fp8"
    assert condition(ready, "Quantized")["status"] == "True"
    assert "--kv-cache-dtype" not in pod_spec(api, namespace)["containers"][0]["args"]


def test_a_restart_at_rest_in_fp8_writes_nothing(
    api: Api, namespace: str, operator: OperatorProcess, audit: Audit
) -> None:
    support.put(api, quantization(namespace))
    support.put(api, fp8_server(namespace))
    wait_fp8(api, namespace)
    support.wait_at_rest(audit, operator, namespace)
    mark = audit.mark()
    operator.restart()
    support.wait_reconciles(api, operator, 2)
    support.wait_at_rest(audit, operator, namespace)
    assert support.written(audit, operator, mark) == []

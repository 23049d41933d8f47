"""Pods of a server in FP8, as the API server takes them and a kubelet tells of them."""

import json
from typing import Any

from tests.cluster import prefetching, quantizing, support
from tests.harness.api import Api, Object
from tests.harness.audit import Audit
from tests.harness.operator import OperatorProcess

FOLDER = "/data/inc/$(HOME): {{ 7 * 7 }} '\"\\\u2028\u00e9\U0001f600"
NOW = "2026-01-02T03:04:05Z"


def test_a_folder_of_any_name_is_mounted(
    api: Api, namespace: str, operator: OperatorProcess, audit: Audit
) -> None:
    """The API server takes the mounts and words, and nothing differs for ever."""
    quantizing.make_claim(api, namespace)
    obj = quantizing.quantization(namespace, life="held", existing={"path": FOLDER})
    del obj["spec"]["dataset"]
    support.put(api, obj)
    job = quantizing.job(api, namespace, "calibration")
    said = quantizing.result(job, output=FOLDER, quantConfig=f"{FOLDER}/q.json")
    prefetching.end(api, namespace, job, message=said)
    support.put(api, quantizing.fp8_server(namespace))
    support.wait_condition(api, namespace, "chat", "Quantized", "True", kind="Quantized")
    support.wait_serving(api, namespace)
    spec = support.child(api, namespace, "Deployment", "chat")["spec"]["template"]["spec"]
    found = {each["mountPath"]: each.get("subPath") for each in spec["containers"][0]["volumeMounts"]}
    assert found[FOLDER] == FOLDER.removeprefix("/data/")
    (verify,) = spec["initContainers"]
    assert verify["args"][1] == FOLDER.replace("$", "$$")
    support.wait_at_rest(audit, operator, namespace)


def first(api: Api, namespace: str, state: Object, last: Object | None = None) -> None:
    """Let the one pod of a server be where its first container has a state."""

    def made() -> Any:
        pods = prefetching.server_pods(api, namespace)
        return [each for each in pods if each.get("status", {}).get("containerStatuses")]

    (pod,) = api.wait_for(made, message="a pod of the server")
    (verify,) = pod["status"]["initContainerStatuses"]
    (vllm,) = pod["status"]["containerStatuses"]
    verify |= {"state": state, "lastState": last or {}, "ready": False}
    vllm |= {"state": {"waiting": {"reason": "PodInitializing"}}, "started": False}
    status = {"phase": "Pending", "initContainerStatuses": [verify], "containerStatuses": [vllm]}
    api.patch_status("Pod", namespace, pod["metadata"]["name"], status)


def test_what_keeps_a_pod_from_vllm_is_told(api: Api, namespace: str, operator: OperatorProcess) -> None:
    quantizing.make_claim(api, namespace)
    support.put(api, quantizing.quantization(namespace))
    quantizing.wait_ready(api, namespace)
    support.put(
        api, quantizing.fp8_server(namespace, extraEnv=[{"name": "TEST_LIFE", "value": "never-ready"}])
    )
    support.wait_reconciling(api, namespace, "chat", "WarmingUp", "loads the model")
    first(api, namespace, {"running": {"startedAt": NOW}})
    support.wait_reconciling(api, namespace, "chat", "WarmingUp", "looks whether")
    first(api, namespace, {"waiting": {"reason": "ErrImagePull", "message": "not found"}})
    support.wait_reconciling(api, namespace, "chat", "ImagePullFailed", "not found")
    report = json.dumps({"reason": "ArtifactsChanged", "message": "/data/inc/a.npz has another content"})
    ended = {"exitCode": 78, "reason": "Error", "message": report, "startedAt": NOW, "finishedAt": NOW}
    for state, last in (
        ({"terminated": ended}, None),
        ({"waiting": {"reason": "CrashLoopBackOff", "message": "back-off"}}, {"terminated": ended}),
    ):
        first(api, namespace, state, last)
        words = support.wait_stalled(api, namespace, "chat", "ArtifactsChanged", "a.npz has another content")
        assert "delete fp8q llama`" in words
    other = ended | {"exitCode": 127, "message": "python3: not found"}
    first(api, namespace, {"terminated": other})
    support.wait_reconciling(api, namespace, "chat", "CrashLooping", "Container verify ended")

"""FP8Quantizations for the cluster tests, and their Jobs, which a test may end by hand."""

import json
from typing import Any

from tests.cluster import support
from tests.cluster.prefetching import COMMIT
from tests.harness import manifests
from tests.harness.api import Api, Object, condition

QUANTIZATION_LABEL = "vllm-operator.dev/quantization"
KIND = "FP8Quantization"
OF_CALIBRATIONS = "app.kubernetes.io/component=calibration"
CLAIM = "weights"


def quantization(
    namespace: str, name: str = "llama", *, life: str = "", message: str = "", **spec: Any
) -> Object:
    """Return a quantization whose Jobs' pods live the given life; `spec` holds further fields of its spec."""
    variables = [("TEST_LIFE", life), ("TEST_MESSAGE", message)]
    chosen = [{"name": key, "value": value} for key, value in variables if value]
    base: Object = {
        "model": {"name": "Qwen/Qwen3-0.6B", "trustRemoteCode": True},
        "cache": {"claimName": CLAIM},
        "dataset": {"huggingFace": {"name": "org/data"}},
    }
    if chosen:
        base["extraEnv"] = chosen
    return {
        "apiVersion": "vllm-operator.dev/v1alpha1",
        "kind": KIND,
        "metadata": {"name": name, "namespace": namespace},
        "spec": base | spec,
    }


def fp8_server(namespace: str, name: str = "chat", *, pending: str = "ServeBF16", **spec: Any) -> Object:
    """Return a server on Gaudi that names the quantization, and has its claim."""
    fp8 = {"quantizationRef": {"name": "llama"}, "whilePending": pending}
    return support.server(namespace, name, device="gaudi", cache={"claimName": CLAIM}, fp8=fp8, **spec)


def wait_ready(api: Api, namespace: str, name: str = "llama") -> Object:
    """Wait until a quantization is Ready=True/Calibrated at its present generation."""
    return support.wait_condition(api, namespace, name, "Calibrated", "True", of=KIND)


def job(api: Api, namespace: str, component: str, but: str = "") -> Object:
    """Wait for the one Job of a component that is not the one of a uid, and is not about to go."""

    def found() -> Object | None:
        labels = f"{QUANTIZATION_LABEL},app.kubernetes.io/component={component}"
        jobs = [
            each
            for each in api.list("Job", namespace, labels=labels)
            if "deletionTimestamp" not in each["metadata"] and each["metadata"]["uid"] != but
        ]
        return jobs[0] if len(jobs) == 1 else None

    return api.wait_for(found, timeout=support.READY_SECONDS, message=f"one {component} Job")


def records(api: Api, namespace: str, name: str = "llama") -> list[Object]:
    """Return a quantization's records, oldest first."""
    found = api.list("ControllerRevision", namespace, labels=f"{QUANTIZATION_LABEL}={name}")
    return sorted(found, key=lambda record: int(record["revision"]))


def reasons(states: list[Object], kind: str = "Ready") -> list[str]:
    """Return the reasons of a condition, each once in a row."""
    told = [condition(obj, kind).get("reason", "") for obj in states]
    return [reason for index, reason in enumerate(told) if index == 0 or told[index - 1] != reason]


def make_claim(api: Api, namespace: str) -> None:
    """Make the claim that the quantizations name."""
    api.create(manifests.claim(namespace, CLAIM, "wait", "50Gi"))


def staged() -> str:
    """Return what the program says when model and dataset are in the cache."""
    dataset = {"path": "/data/datasets/a.pkl", "sha256": "a", "bytes": 1}
    report = {"commit": COMMIT, "files": 1, "bytes": 1, "downloaded": 1, "adopted": {"files": 0}}
    return json.dumps(report | {"cache": "/data/hub", "dataset": dataset})


def result(job: Object, **other: Any) -> str:
    """Return what the program of a calibration's Job says when all is there; `other` replaces parts of it."""
    arguments = job["spec"]["template"]["spec"]["containers"][0]["args"]
    output = f"{arguments[arguments.index('--output') + 1]}/model"
    report = {"output": output, "quantConfig": f"{output}/q.json", "generation": "g3", "worldSize": 1}
    report["manifest"] = f"{output}/manifest.json"
    counts = {"samples": 1, "files": 1, "bytes": 1, "sha256": "beef", "reused": False}
    return json.dumps(report | counts | other)

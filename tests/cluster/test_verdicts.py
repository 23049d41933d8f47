"""Objects in their states, as a real API server holds them; tests/chart/test_verdicts.py has them judged.

`--update-verdicts` records them anew.
"""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cluster import prefetching, quantizing, support
from tests.cluster.prefetching import ACT
from tests.cluster.quantizing import KIND
from tests.harness.api import Api, Object
from tests.harness.controlplane import ControlPlane
from tests.harness.kinds import KINDS
from tests.harness.operator import OperatorProcess

RECORDED = Path(__file__).parents[1] / "data" / "verdicts"
Record = Callable[[str, Object], None]


def gist(obj: Object) -> Object:
    """What a verdict depends on."""
    status, generation = obj.get("status", {}), obj["metadata"]["generation"]
    told = [(each["type"], each["status"], each["reason"]) for each in status.get("conditions", ())]
    return {
        "kind": obj["kind"],
        "conditions": told,
        "observed": status.get("observedGeneration", 0) == generation,
        "deleting": "deletionTimestamp" in obj["metadata"],
    }


def kept(obj: Object, namespace: str) -> Object:
    """An object as it is recorded: without who wrote which field, and in a namespace of a steady name."""
    steady: Object = json.loads(json.dumps(obj).replace(namespace, "models"))
    del steady["metadata"]["managedFields"]
    return steady


@pytest.fixture
def record(request: pytest.FixtureRequest, namespace: str) -> Iterator[Record]:
    """Compares what is seen with the record, or makes it the record."""
    seen: dict[str, Object] = {}

    def take(name: str, obj: Object) -> None:
        seen[name] = kept(obj, namespace)

    yield take
    if request.config.getoption("--update-verdicts"):
        RECORDED.mkdir(exist_ok=True)
        for name, obj in seen.items():
            (RECORDED / f"{name}.json").write_text(json.dumps(obj, indent=1) + "\n")
    for name, obj in seen.items():
        assert gist(obj) == gist(json.loads((RECORDED / f"{name}.json").read_text())), name


def deleted(api: Api, kind: str, namespace: str, name: str) -> Object:
    """Delete an object as Argo CD does, and return it as it is until its children have gone."""
    return api.request("DELETE", KINDS[kind].path(namespace, name), {"propagationPolicy": "Foreground"})


def test_a_server(cluster: ControlPlane, api: Api, namespace: str, record: Record) -> None:
    def put(**spec: Any) -> None:
        support.put(api, support.server(namespace, **spec))

    def told(reason: str, status: str) -> Object:
        return support.wait_condition(api, namespace, "chat", reason, status)

    put(life="never-ready")
    record("server-unwritten", support.child(api, namespace, "VLLMServer", "chat"))
    with OperatorProcess(cluster, [namespace]) as operator:
        record("server-warming-up", told("WarmingUp", "False"))
        put(life="crash")
        record("server-crash-looping", told("CrashLooping", "False"))
        put()
        record("server-serving", told("Serving", "True"))
        put(paused=True)
        record("server-paused", told("Paused", "True"))
        put(paused=True, service={"port": 80})
        record("server-paused-with-an-edit", told("Paused", "False"))
        put(replicas=0)
        record("server-suspended", told("Suspended", "True"))
        put(extraArgs=["--no-such-flag"])
        record("server-invalid-for-engine", told("InvalidForEngine", "False"))
        put()
        told("Serving", "True")
        operator.stop()
        put(replicas=2)
        record("server-edited", support.child(api, namespace, "VLLMServer", "chat"))
    record("server-deleting", deleted(api, "VLLMServer", namespace, "chat"))


def test_a_quantization(cluster: ControlPlane, api: Api, namespace: str, record: Record) -> None:
    def told(reason: str, status: str) -> Object:
        return support.wait_condition(api, namespace, "llama", reason, status, of=KIND)

    quantizing.make_claim(api, namespace)
    support.put(api, quantizing.quantization(namespace, life="held"))
    record("quantization-unwritten", support.child(api, namespace, KIND, "llama"))
    with OperatorProcess(cluster, [namespace]):
        fetch = quantizing.job(api, namespace, "prefetch")
        record("quantization-prefetching", told("Prefetching", "False"))
        prefetching.end(api, namespace, fetch, message=quantizing.staged())
        job = quantizing.job(api, namespace, "calibration")
        record("quantization-calibrating", told("Calibrating", "False"))
        words = prefetching.report("SamplesMissing", "3 of 512 samples were measured.")
        prefetching.end(api, namespace, job, ACT, words)
        record("quantization-samples-missing", told("SamplesMissing", "False"))
        api.patch(KIND, namespace, "llama", {"spec": {"retry": 1}})
        again = quantizing.job(api, namespace, "calibration", but=job["metadata"]["uid"])
        prefetching.end(api, namespace, again, message=quantizing.result(again))
        record("quantization-calibrated", told("Calibrated", "True"))
        record("quantization-deleting", deleted(api, KIND, namespace, "llama"))

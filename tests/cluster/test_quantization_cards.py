"""Quantizations and the servers that name them: cards, the claim that they share, who uses what, progress."""

from collections.abc import Callable, Iterator

import pytest

from tests.cluster import prefetching, quantizing, support
from tests.cluster.kubectl import kubectl
from tests.cluster.pool import Pool
from tests.cluster.quantizing import KIND, fp8_server, quantization
from tests.harness.api import Api, Object, condition
from tests.harness.controlplane import ControlPlane
from tests.harness.fixtures import ForeignCluster
from tests.harness.operator import Cluster, OperatorProcess


def test_who_names_a_quantization_is_seen_on_it(api: Api, namespace: str, operator: OperatorProcess) -> None:
    quantizing.make_claim(api, namespace)

    def used(*names: str) -> None:
        wanted = list(names) or None
        api.wait_object(KIND, namespace, "llama", lambda obj: obj["status"].get("usedBy") == wanted)

    support.put(api, fp8_server(namespace, "early"))
    support.put(api, quantization(namespace))
    used("early")
    support.put(api, fp8_server(namespace, "chat"))
    used("chat", "early")
    api.patch("VLLMServer", namespace, "chat", {"spec": {"fp8": None}})
    used("early")
    api.delete("VLLMServer", namespace, "early")
    used()


def test_cards_that_the_waiting_server_has_are_not_taken_and_both_ways_out_are_named(
    api: Api, namespace: str, operator: OperatorProcess, pool: Pool
) -> None:
    quantizing.make_claim(api, namespace)
    pool.add_node()
    support.put(api, fp8_server(namespace, tensorParallelSize=8, nodeSelector=pool.selector))
    support.wait_condition(api, namespace, "chat", "Serving", "True", kind="Available")
    (before,) = prefetching.server_pods(api, namespace)
    support.put(api, quantization(namespace, tensorParallelSize=8, nodeSelector=pool.selector))
    words = support.wait_reconciling(api, namespace, "llama", "WaitingForAccelerators", of=KIND)
    assert "Insufficient habana.ai/gaudi" in words
    assert "chat (8)" in words
    assert "spec.fp8.whilePending: Wait" in words
    assert "add a node" in words
    (after,) = prefetching.server_pods(api, namespace)
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    pool.add_node()
    quantizing.wait_ready(api, namespace)


def test_jobs_run_where_a_server_holds_the_claim(
    api: Api, namespace: str, operator: OperatorProcess, pool: Pool
) -> None:
    """Of a claim that one node can mount: elsewhere the Jobs would wait for ever, holding cards."""
    claim: Object = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": quantizing.CLAIM, "namespace": namespace},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "50Gi"}},
            "storageClassName": pool.storage_class("WaitForFirstConsumer"),
        },
    }
    api.create(claim)
    nodes = [pool.add_node(), pool.add_node()]
    pool.add_volume(nodes[1])
    support.put(api, fp8_server(namespace, nodeSelector=pool.selector))
    support.wait_condition(api, namespace, "chat", "Serving", "True", kind="Available")
    support.put(api, quantization(namespace, life="held", nodeSelector=pool.selector))
    for component, report in (("prefetch", quantizing.staged), ("calibration", None)):
        job = quantizing.job(api, namespace, component)
        pod = prefetching.running_pod(api, namespace, job)
        assert pod["spec"]["nodeName"] == nodes[1]
        terms = pod["spec"]["affinity"]["podAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
        (expression,) = terms[0]["labelSelector"]["matchExpressions"]
        assert (expression["key"], expression["values"]) == (support.SERVER_LABEL, ["chat"])
        prefetching.end(api, namespace, job, message=report() if report else quantizing.result(job))
    quantizing.wait_ready(api, namespace)


@pytest.fixture
def write_log(cluster: ControlPlane | ForeignCluster) -> Iterator[Callable[..., None]]:
    if not isinstance(cluster, ControlPlane):
        pytest.fail("this test writes the logs of played containers: it cannot run with --kubeconfig")
    yield cluster.write_log
    for container in ("prefetch", "calibration"):
        cluster.write_log(container)


def test_progress_is_told_in_the_status_and_in_a_column(
    *,
    cluster: Cluster,
    api: Api,
    namespace: str,
    operator: OperatorProcess,
    write_log: Callable[..., None],
) -> None:
    quantizing.make_claim(api, namespace)
    write_log("prefetch", "prefetch: download 70/140")
    write_log("calibration", "Batch finished: 4/16", "calibrate: measure 128/512 ETA 3")
    support.put(api, quantization(namespace, life="held"))
    fetches = {"step": 0, "steps": 7, "done": 70, "total": 140, "message": "download 70 of 140"}
    _wait_progress(api, namespace, fetches)
    prefetching.end(api, namespace, quantizing.job(api, namespace, "prefetch"), message=quantizing.staged())
    words = "measure 128 of 512, 3 min left"
    _wait_progress(api, namespace, {"step": 2, "steps": 7, "done": 128, "total": 512, "message": words})
    columns = kubectl(cluster, namespace, "get", "fp8q").splitlines()
    assert columns[0].split() == ["NAME", "MODEL", "TP", "GENERATION", "PROGRESS", "READY", "AGE"]
    assert words in columns[1]
    job = quantizing.job(api, namespace, "calibration")
    prefetching.end(api, namespace, job, message=quantizing.result(job))
    assert "progress" not in quantizing.wait_ready(api, namespace)["status"]


def _wait_progress(api: Api, namespace: str, wanted: Object) -> None:
    api.wait_object(
        *(KIND, namespace, "llama"), lambda obj: obj["status"].get("progress") == wanted, timeout=60
    )
    assert condition(api.get(KIND, namespace, "llama") or {}, "Reconciling")["status"] == "True"

"""Servers on Gaudi cards: from apply to Ready, on nodes that have cards, too few of them, or none."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.cluster import prefetching, support
from tests.cluster.kubectl import follow, kubectl
from tests.cluster.pool import Pool
from tests.harness.api import Api, Object, condition
from tests.harness.manifests import is_ready
from tests.harness.operator import Cluster, OperatorProcess

GAUDI_IMAGE = (
    "vault.habana.ai/gaudi-docker/1.24.1/ubuntu24.04/habanalabs/vllm-0.26.0-ptupstream-2.11.0:latest"
)
CPU_IMAGE = "docker.io/vllm/vllm-openai-cpu:v0.32.0-x86_64"
SHARED = {"size": "50Gi", "accessModes": ["ReadWriteMany"]}
CARD = "habana.ai/gaudi"


def gaudi(namespace: str, name: str = "chat", cards: int = 1, **spec: Any) -> Object:
    """Return a server on Gaudi."""
    return support.server(namespace, name, device="gaudi", tensorParallelSize=cards, **spec)


def container(pod: Object) -> Any:
    return pod["spec"]["containers"][0]


def test_from_apply_to_ready(cluster: Cluster, api: Api, namespace: str, operator: OperatorProcess) -> None:
    created = support.put(api, gaudi(namespace, cards=4, prefetch=True))
    ready = support.wait_serving(api, namespace)
    assert ready["status"]["image"] == GAUDI_IMAGE
    (pod,) = prefetching.server_pods(api, namespace)
    assert container(pod)["resources"] == {"limits": {CARD: "4"}, "requests": {CARD: "4"}}
    (shm,) = (each for each in pod["spec"]["volumes"] if each["name"] == "shm")
    assert shm["emptyDir"] == {"medium": "Memory", "sizeLimit": "16Gi"}
    strategy = support.child(api, namespace, "Deployment", "chat")["spec"]["strategy"]["rollingUpdate"]
    assert strategy == {"maxSurge": 0, "maxUnavailable": 1}
    (job, *_) = prefetching.jobs_since(api, namespace, created)
    fetches = container(job["spec"]["template"])
    assert fetches["image"] == GAUDI_IMAGE, "nothing else has to be pulled"
    assert CARD not in str(fetches["resources"])
    assert " gaudi " in kubectl(cluster, namespace, "get", "vllm", "chat")


def full(api: Api, namespace: str, pool: Pool, **spec: Any) -> None:
    """Fill the one node of a pool, or its cards, with a server."""
    pool.add_node()
    support.put(api, gaudi(namespace, "first", 8, nodeSelector=pool.selector, **spec))
    support.wait_serving(api, namespace, "first")


def test_a_server_that_finds_no_free_card_says_so_and_takes_the_first(
    api: Api, namespace: str, operator: OperatorProcess, pool: Pool
) -> None:
    full(api, namespace, pool)
    support.put(api, gaudi(namespace, nodeSelector=pool.selector, prefetch=True))
    words = f"Insufficient {CARD}"
    message = support.wait_reconciling(api, namespace, "chat", "WaitingForAccelerators", words=words)
    assert "nodes are available" in message
    assert "spec.tensorParallelSize" in message
    seen = support.child(api, namespace, "VLLMServer", "chat")
    assert condition(seen, "ModelCached")["status"] == "True", "the model is fetched without a card"
    api.scale("VLLMServer", namespace, "first", 0)
    support.wait_serving(api, namespace)


def test_a_rollout_needs_no_spare_cards(
    api: Api, namespace: str, operator: OperatorProcess, pool: Pool
) -> None:
    """Even where the cache could be mounted twice: on the one node all eight cards are the server's own."""
    full(api, namespace, pool, cache=SHARED)
    (old,) = prefetching.server_pods(api, namespace)
    selector = pool.selector
    edited = support.put(
        api, gaudi(namespace, "first", 8, nodeSelector=selector, cache=SHARED, engineArgs={"seed": 1})
    )
    support.wait_serving(api, namespace, "first")
    (new,) = [pod for pod in prefetching.server_pods(api, namespace) if is_ready(pod)]
    assert new["spec"]["nodeName"] == old["spec"]["nodeName"]
    assert new["metadata"]["uid"] != old["metadata"]["uid"]
    states = support.history(
        api, "VLLMServer", namespace, edited, lambda obj: condition(obj, "Ready")["status"] == "True"
    )
    current = [obj for obj in states if obj["status"]["observedGeneration"] == obj["metadata"]["generation"]]
    told = {condition(obj, "Ready")["reason"] for obj in current}
    assert told <= {"RollingOut", "WarmingUp", "Serving"}, "its own old pod is nobody to wait for"


def test_nodes_without_cards_take_none(
    api: Api, namespace: str, operator: OperatorProcess, pool: Pool
) -> None:
    pool.add_node(gaudi=0)
    support.put(api, gaudi(namespace, nodeSelector=pool.selector))
    words = f"1 Insufficient {CARD}"
    support.wait_reconciling(api, namespace, "chat", "WaitingForAccelerators", words=words)
    pool.add_node()
    support.wait_serving(api, namespace)


def test_a_generation_chooses_the_nodes_that_the_operator_is_told(
    cluster: Cluster, api: Api, namespace: str, pool: Pool
) -> None:
    pool.add_node({"generation": "2"})
    third = pool.add_node({"generation": "3"}, cpus=8)
    chosen = gaudi(namespace, gaudi={"generation": "g3"}, nodeSelector=pool.selector)
    with OperatorProcess(cluster, [namespace]):
        support.put(api, chosen)
        words = "set VLLM_OPERATOR_GAUDI_G3_NODES of the operator, or use spec.nodeSelector"
        support.wait_stalled(api, namespace, "chat", "InvalidForEngine", words=words)
        assert api.get("Deployment", namespace, "chat") is None
    with OperatorProcess(cluster, [namespace], {"VLLM_OPERATOR_GAUDI_G3_NODES": "generation=3"}):
        support.wait_serving(api, namespace)
        (pod,) = prefetching.server_pods(api, namespace)
        assert pod["spec"]["nodeName"] == third
        assert pod["spec"]["nodeSelector"] == pool.selector | {"generation": "3"}


def test_sys_nice_needs_a_namespace_that_admits_it(
    cluster: Cluster, api: Api, namespace: str, operator: OperatorProcess
) -> None:
    support.put(api, gaudi(namespace, gaudi={"sysNice": True}, prefetch=True))
    words = 'violates PodSecurity "restricted:latest": unrestricted capabilities'
    message = support.wait_stalled(api, namespace, "chat", "ChildRejected", words=words)
    assert "SYS_NICE" in message
    labels = {f"pod-security.kubernetes.io/{mode}": "privileged" for mode in ("enforce", "warn")}
    api.patch("Namespace", None, namespace, {"metadata": {"labels": labels}})
    follow(cluster, message, "rollout restart")
    support.wait_serving(api, namespace)

    def serves() -> Object | None:
        # A pod that was admitted before the restart may still be going.
        pods = prefetching.server_pods(api, namespace)
        return pods[0] if len(pods) == 1 and is_ready(pods[0]) else None

    pod = api.wait_for(serves, timeout=support.READY_SECONDS, message="one pod that serves")
    assert container(pod)["securityContext"]["capabilities"] == {"drop": ["ALL"], "add": ["SYS_NICE"]}


def test_another_device_takes_the_other_default_image(
    api: Api, namespace: str, operator: OperatorProcess
) -> None:
    support.put(api, support.server(namespace, prefetch=True))
    assert support.wait_serving(api, namespace)["status"]["image"] == CPU_IMAGE
    support.put(api, gaudi(namespace, prefetch=True))
    assert support.wait_serving(api, namespace)["status"]["image"] == GAUDI_IMAGE
    (pod,) = [pod for pod in prefetching.server_pods(api, namespace) if is_ready(pod)]
    assert container(pod)["image"] == GAUDI_IMAGE
    assert container(pod)["resources"]["limits"] == {CARD: "1"}
    support.put(api, support.server(namespace, prefetch=True))
    assert support.wait_serving(api, namespace)["status"]["image"] == CPU_IMAGE


@pytest.fixture
def runtime_class(api: Api, pool: Pool) -> Iterator[str]:
    """A runtime class of this test's own; the file that makes it is given out, nothing is made."""
    yield pool.name
    api.delete("RuntimeClass", None, pool.name, missing_ok=True)


def test_a_runtime_class_that_does_not_exist(
    cluster: Cluster, api: Api, namespace: str, operator: OperatorProcess, runtime_class: str
) -> None:
    support.put(api, gaudi(namespace, gaudi={"runtimeClassName": runtime_class}, prefetch=True))
    words = f'RuntimeClass "{runtime_class}" not found'
    message = support.wait_stalled(api, namespace, "chat", "ChildRejected", words=words)
    common = {"apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "handler": "habana"}
    api.create(common | {"metadata": {"name": runtime_class}})
    follow(cluster, message, "rollout restart")
    support.wait_serving(api, namespace)


def test_huge_pages_that_no_node_has(api: Api, namespace: str, operator: OperatorProcess) -> None:
    limits = {"limits": {"memory": "32Gi"}}
    support.put(api, gaudi(namespace, gaudi={"hugepages2Mi": "9800Mi"}, resources=limits))
    words = "Insufficient hugepages-2Mi"
    support.wait_reconciling(api, namespace, "chat", "Unschedulable", words=words)
    support.put(api, gaudi(namespace))
    support.wait_serving(api, namespace)


def test_what_the_warm_up_is_told_reaches_the_pod(
    api: Api, namespace: str, operator: OperatorProcess
) -> None:
    warmup = {
        "strategy": "lin",
        "buckets": {"decodeBatchSize": {"min": 1, "step": 2, "max": 8}},
        "recipeCache": {"enabled": True, "size": "1Gi"},
    }
    support.put(api, gaudi(namespace, warmup=warmup))
    support.wait_serving(api, namespace)
    (pod,) = prefetching.server_pods(api, namespace)
    found = {name: each.get("value") for name, each in prefetching.variables(pod["spec"]).items()}
    assert found["VLLM_BUCKETING_STRATEGY"] == "lin"
    bounds = [found[f"VLLM_DECODE_BS_BUCKET_{bound}"] for bound in ("MIN", "STEP", "MAX")]
    assert bounds == ["1", "2", "8"]
    folder, keep, size = str(found["PT_HPU_RECIPE_CACHE_CONFIG"]).split(",")
    assert (folder.startswith("/data/.cache/recipes/"), keep, size) == (True, "false", "1024")

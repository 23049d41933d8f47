"""Where a prefetch runs: its pod may bind the cache's volume, and there the server must fit."""

from collections.abc import Sequence
from typing import Any

import pytest

from tests.cluster import prefetching, support
from tests.cluster.kubectl import follow
from tests.cluster.pool import HOSTNAME, Pool
from tests.harness import manifests
from tests.harness.api import Api, Object
from tests.harness.audit import Audit
from tests.harness.operator import Cluster, OperatorProcess

CLAIM = "PersistentVolumeClaim"
ROOMY: dict[str, Any] = {"cpus": 16, "memory": "32Gi"}
OTHER: Object = {"name": "Qwen/Qwen3-4B"}


def limits(cpu: int, memory: str) -> Object:
    return {"limits": {"cpu": cpu, "memory": memory}}


def node_of(pod: Object) -> str:
    return str(pod["spec"]["nodeName"])


def fetched_on(api: Api, namespace: str, name: str = "chat") -> str:
    """Wait for the pod of the Job to run, end it, and return the node."""
    job = prefetching.job(api, namespace)
    node = node_of(prefetching.running_pod(api, namespace, job))
    prefetching.end(api, namespace, job)
    support.wait_serving(api, namespace, name)
    return node


def test_a_volume_is_bound_where_the_server_fits(
    api: Api, namespace: str, operator: OperatorProcess, pool: Pool
) -> None:
    """For the download alone the other node would be the better one."""
    small = pool.add_node(cpus=7, memory="1000Gi")
    large = pool.add_node(cpus=9, memory="6Gi")
    storage_class = pool.storage_class("WaitForFirstConsumer")
    volumes = {node: pool.add_volume(node) for node in (small, large)}
    support.put(
        api,
        prefetching.held(
            namespace,
            cache={"size": "50Gi", "storageClassName": storage_class},
            nodeSelector=pool.selector,
            resources=limits(8, "4Gi"),
        ),
    )
    assert fetched_on(api, namespace) == large
    assert support.child(api, namespace, CLAIM, "chat-cache")["spec"]["volumeName"] == volumes[large]
    (pod,) = prefetching.server_pods(api, namespace)
    assert node_of(pod) == large


def test_a_volume_is_bound_where_cards_are(cluster: Cluster, api: Api, namespace: str, pool: Pool) -> None:
    """The Job asks for no card, so that only the operator's setting keeps it off the better node."""
    better = pool.add_node(gaudi=0, cpus=64, memory="1000Gi")
    cards = pool.add_node({"cards": pool.name}, cpus=4, memory="8Gi")
    storage_class = pool.storage_class("WaitForFirstConsumer")
    for node in (better, cards):
        pool.add_volume(node)
    with OperatorProcess(cluster, [namespace], {"VLLM_OPERATOR_GAUDI_NODES": f"cards={pool.name}"}):
        cache = {"size": "50Gi", "storageClassName": storage_class}
        support.put(api, prefetching.held(namespace, device="gaudi", cache=cache, nodeSelector=pool.selector))
        assert fetched_on(api, namespace) == cards


def test_a_volume_waits_for_a_node_that_takes_the_server(
    api: Api, namespace: str, operator: OperatorProcess, pool: Pool
) -> None:
    """Rather no volume than one on a node on which the server never fits."""
    small = pool.add_node(**ROOMY | {"cpus": 4})
    storage_class = pool.storage_class("WaitForFirstConsumer")
    pool.add_volume(small)
    cache = {"size": "50Gi", "storageClassName": storage_class}
    support.put(api, _server(namespace, cache=cache, nodeSelector=pool.selector, resources=limits(8, "8Gi")))
    support.wait_reconciling(api, namespace, "chat", "Unschedulable", words="Insufficient cpu")
    large = pool.add_node(**ROOMY)
    volume = pool.add_volume(large)
    support.wait_serving(api, namespace)
    assert support.child(api, namespace, CLAIM, "chat-cache")["spec"]["volumeName"] == volume


@pytest.mark.parametrize(
    ("lacks", "mode"),
    [("room", "Immediate"), ("cards", "Immediate"), ("cards", "WaitForFirstConsumer")],
)
def test_a_volume_on_a_node_that_cannot_take_the_server(
    *, api: Api, namespace: str, operator: OperatorProcess, pool: Pool, mode: str, lacks: str
) -> None:
    """Such as one that was there before, or that was bound while the node was empty."""
    lacking = pool.add_node(**(ROOMY | ({"gaudi": 0} if lacks == "cards" else {"cpus": 4})))
    pool.add_node(**ROOMY)
    storage_class = pool.storage_class(mode)
    pool.add_volume(lacking)
    cache = manifests.claim(namespace, "weights", storage_class, size="50Gi")
    cache["spec"]["accessModes"] = ["ReadWriteOnce"]
    api.create(cache)
    needs: Object = {"device": "gaudi"} if lacks == "cards" else {"resources": limits(8, "8Gi")}
    support.put(api, _server(namespace, cache={"claimName": "weights"}, nodeSelector=pool.selector, **needs))
    message = support.wait_reconciling(api, namespace, "chat", "CacheOnOtherNode", words="claim weights")
    assert "name another claim in spec.cache.claimName" in message
    api.create(manifests.claim(namespace, "other", "wait"))
    support.put(api, _server(namespace, cache={"claimName": "other"}, nodeSelector=pool.selector, **needs))
    support.wait_serving(api, namespace)


def _server(namespace: str, **spec: Any) -> Object:
    return support.server(namespace, prefetch=True, **spec)


def test_a_claim_that_only_one_pod_can_mount_is_refused(
    api: Api, namespace: str, operator: OperatorProcess
) -> None:
    once = manifests.claim(namespace, "weights", "wait")
    once["spec"]["accessModes"] = ["ReadWriteOncePod"]
    api.create(once)
    support.put(api, _server(namespace, cache={"claimName": "weights"}))
    support.wait_stalled(
        api, namespace, "chat", "CacheNotShareable", words="Claim weights is ReadWriteOncePod"
    )
    assert api.list("Job", namespace) == []
    api.create(manifests.claim(namespace, "other", "wait"))
    support.put(api, _server(namespace, cache={"claimName": "other"}))
    support.wait_serving(api, namespace)


def busy(api: Api, namespace: str, pool: Pool, cpus: int) -> tuple[str, Object]:
    """Return the node of a server that takes nearly all of it, beside an empty one, and its spec."""
    for _ in range(2):
        pool.add_node(**ROOMY)
    made = prefetching.held(namespace, nodeSelector=pool.selector, resources=limits(cpus, "8Gi"))
    support.put(api, made)
    fetched_on(api, namespace)
    (pod,) = prefetching.server_pods(api, namespace)
    return node_of(pod), made


def test_a_prefetch_runs_beside_the_pods_that_hold_the_claim(
    api: Api, namespace: str, operator: OperatorProcess, pool: Pool
) -> None:
    """Wherever these are: also where the edit sends the server to another node."""
    node, made = busy(api, namespace, pool, cpus=15)
    (other,) = {each["metadata"]["name"] for each in api.list("Node", labels=pool.label)} - {node}
    made["spec"] |= {"model": OTHER, "nodeSelector": {HOSTNAME: other}}
    support.put(api, made)
    assert fetched_on(api, namespace) == node


def test_where_the_server_leaves_no_room_the_message_leads_out(
    cluster: Cluster, api: Api, namespace: str, operator: OperatorProcess, pool: Pool
) -> None:
    _, made = busy(api, namespace, pool, cpus=16)
    made["spec"]["model"] = OTHER
    support.put(api, made)
    words = "The prefetch runs beside the pods that hold claim chat-cache"
    message = support.wait_reconciling(api, namespace, "chat", "Unschedulable", words=words)
    assert "Insufficient cpu" in message
    waits = prefetching.job(api, namespace)
    follow(cluster, message, "--replicas=0")
    # The Job that had to be beside the pods is made anew.
    job = prefetching.job(api, namespace, but=waits["metadata"]["uid"])
    prefetching.end(api, namespace, job)
    support.wait_condition(api, namespace, "chat", "Suspended", "True")
    api.scale("VLLMServer", namespace, "chat", 1)
    support.wait_serving(api, namespace)
    (pod,) = prefetching.server_pods(api, namespace)
    assert pod["spec"]["containers"][0]["args"][0] == OTHER["name"]


def test_pods_that_no_node_takes_hold_no_prefetch(
    api: Api, namespace: str, operator: OperatorProcess, pool: Pool
) -> None:
    pool.add_node(**ROOMY)
    cache = manifests.claim(namespace, "weights", "immediate", size="50Gi")
    cache["spec"]["accessModes"] = ["ReadWriteOnce"]
    api.create(cache)
    # It is bound already, so that only the server's own pod asks for too much.
    api.wait_object(CLAIM, namespace, "weights", manifests.is_bound)
    made = _server(namespace, nodeSelector=pool.selector, resources=limits(17, "1Gi"))
    made["spec"]["cache"] = {"claimName": "weights"}
    support.put(api, made)
    support.wait_reconciling(api, namespace, "chat", "Unschedulable")
    assert len(prefetching.server_pods(api, namespace)) == 1
    made["spec"] |= {"model": OTHER, "resources": limits(8, "1Gi")}
    support.put(api, made)
    support.wait_serving(api, namespace)


def test_a_retained_claim_is_used_again(
    api: Api, namespace: str, operator: OperatorProcess, audit: Audit
) -> None:
    support.put(api, _server(namespace))
    support.wait_serving(api, namespace)
    before = support.child(api, namespace, CLAIM, "chat-cache")
    api.delete("VLLMServer", namespace, "chat", propagation="Foreground")
    api.wait_gone("VLLMServer", namespace, "chat", timeout=90)
    api.wait_for(lambda: not api.list("Pod", namespace), timeout=60, message="the pods go")
    support.put(api, prefetching.held(namespace))
    job = prefetching.job(api, namespace)
    template = job["spec"]["template"]["spec"]
    assert template["containers"][0]["resources"]["requests"] == {"cpu": "1", "memory": "2Gi"}
    assert {"name": "cache", "persistentVolumeClaim": {"claimName": "chat-cache"}} in template["volumes"]
    prefetching.end(api, namespace, job)
    support.wait_serving(api, namespace)
    after = support.child(api, namespace, CLAIM, "chat-cache")
    assert after["metadata"]["uid"] == before["metadata"]["uid"]


def reads(audit: Audit, operator: OperatorProcess, namespace: str, since: int) -> Sequence[str]:
    requests = audit.requests(operator.user, namespace, {"get"}, since)
    return support.shown(each for each in requests if each.resource == "persistentvolumeclaims")


@pytest.mark.parametrize("storage_class", ["immediate", "wait"])
def test_a_given_claim_is_read_until_it_is_bound_and_no_more(
    *, api: Api, namespace: str, operator: OperatorProcess, audit: Audit, storage_class: str
) -> None:
    api.create(manifests.claim(namespace, "weights", storage_class))
    if storage_class == "immediate":
        api.wait_object(CLAIM, namespace, "weights", manifests.is_bound)
    mark = audit.mark()
    support.put(api, _server(namespace, cache={"claimName": "weights"}))
    support.wait_serving(api, namespace)
    support.wait_at_rest(audit, operator, namespace)
    if storage_class == "immediate":
        assert len(reads(audit, operator, namespace, mark)) == 1
    mark = audit.mark()
    for seed in (1, 2):
        support.put(api, _server(namespace, cache={"claimName": "weights"}, engineArgs={"seed": seed}))
        support.wait_serving(api, namespace)
    support.wait_at_rest(audit, operator, namespace)
    assert reads(audit, operator, namespace, mark) == []

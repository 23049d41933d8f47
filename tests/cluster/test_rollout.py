"""Rollouts: what is said while one goes on, what serves meanwhile, which records are kept."""

from collections.abc import Callable

import pytest

from tests.cluster import support
from tests.harness.api import Api, Object, condition
from tests.harness.audit import Audit
from tests.harness.manifests import is_ready
from tests.harness.operator import Cluster, OperatorProcess

OLD, NEW = "registry.example/vllm:a", "registry.example/vllm:b"
SHARED_CACHE = {"size": "50Gi", "accessModes": ["ReadWriteMany"]}


def imaged(namespace: str, image: str, cache: Object) -> Object:
    return support.server(namespace, image=image, engine=support.ENGINE, cache=cache, life="slow")


def is_serving(obj: Object) -> bool:
    """Say whether a server claims to serve the generation that it has."""
    ready, generation = condition(obj, "Ready"), obj["metadata"]["generation"]
    seen = obj.get("status", {}).get("observedGeneration")
    return ready.get("status") == "True" and generation in (seen, ready.get("observedGeneration"))


def of_image(image: str) -> Callable[[Object], bool]:
    return lambda pod: pod["spec"]["containers"][0]["image"] == image


@pytest.mark.parametrize(
    ("cache", "surge"),
    [({"size": "50Gi"}, False), (SHARED_CACHE, True)],
    ids=["ReadWriteOnce", "ReadWriteMany"],
)
def test_ready_never_comes_before_the_new_pod(
    api: Api, namespace: str, operator: OperatorProcess, cache: Object, surge: bool
) -> None:
    support.put(api, imaged(namespace, OLD, cache))
    support.wait_serving(api, namespace)
    first = support.record(api, namespace)
    edited = support.put(api, imaged(namespace, NEW, cache))
    support.wait_serving(api, namespace)

    pods = support.history(api, "Pod", namespace, edited, lambda pod: of_image(NEW)(pod) and is_ready(pod))
    new_pod_ready = support.version(pods[-1])
    servers = support.history(api, "VLLMServer", namespace, edited, is_serving)
    assert support.version(servers[-1]) > new_pod_ready
    reasons = [condition(obj, "Ready")["reason"] for obj in servers]
    assert "WarmingUp" in reasons, "the slow pod is seen on its way"
    assert servers[-1]["status"]["image"] == NEW
    early = [pod for pod in pods if of_image(OLD)(pod)]
    unavailable = [obj for obj in servers if condition(obj, "Available")["status"] != "True"]
    if surge:
        assert not [pod for pod in early if "deletionTimestamp" in pod["metadata"]], "the old pod serves on"
        assert unavailable == []
    else:
        gone = [support.version(pod) for pod in early if pod["change"] == "DELETED"]
        made = min(support.version(pod) for pod in pods if of_image(NEW)(pod))
        assert [each < new_pod_ready for each in gone] == [True]
        assert unavailable, f"no pod at all is seen at {made}"

    second = support.record(api, namespace)
    api.wait_for(lambda: support.records(api, namespace) == {second}, message="only the last record is kept")
    told = support.history(
        api,
        "ControllerRevision",
        namespace,
        edited,
        lambda each: each["metadata"]["name"] == f"chat-{second}",
    )
    assert [each["change"] for each in told] == ["ADDED"]
    assert first != second
    deletion = support.history(
        api, "ControllerRevision", namespace, edited, lambda each: each["metadata"]["name"] == f"chat-{first}"
    )[-1]
    assert deletion["change"] == "DELETED"
    assert support.version(deletion) > new_pod_ready, "the old record stays until the new revision serves"


def test_no_edit_is_lost_and_none_is_ready_before_its_pod(
    api: Api, namespace: str, operator: OperatorProcess
) -> None:
    """Edits that come while the one before is being made."""
    images = [f"registry.example/vllm:{number}" for number in range(12)]
    begin = None
    for image in images:
        obj = support.server(namespace, image=image, engine=support.ENGINE, cache=SHARED_CACHE)
        written = support.put(api, obj)
        begin = begin or written
    assert begin is not None
    ready = support.wait_serving(api, namespace)
    assert ready["status"]["image"] == images[-1]
    deployment = support.child(api, namespace, "Deployment", "chat")
    assert of_image(images[-1])(deployment["spec"]["template"])

    servers = support.history(api, "VLLMServer", namespace, begin, lambda obj: _is(obj, ready))
    pods = support.history(
        api, "Pod", namespace, begin, lambda pod: of_image(images[-1])(pod) and is_ready(pod)
    )
    for claimed in filter(is_serving, servers):
        image = claimed["spec"]["image"]
        since = [support.version(pod) for pod in pods if of_image(image)(pod) and is_ready(pod)]
        assert since, f"{image} was never ready: {claimed}"
        assert min(since) < support.version(claimed), claimed


def _is(obj: Object, other: Object) -> bool:
    return support.version(obj) >= support.version(other)


def test_a_rollout_that_is_stuck_keeps_the_last_good_record(
    api: Api, namespace: str, operator: OperatorProcess
) -> None:
    support.put(api, support.server(namespace, cache=SHARED_CACHE))
    support.wait_serving(api, namespace)
    good = support.record(api, namespace)
    stuck = []
    for seed in (1, 2):
        args = {"seed": seed}
        support.put(api, support.server(namespace, cache=SHARED_CACHE, life="never-ready", engineArgs=args))
        support.wait_reconciling(api, namespace, "chat", "WarmingUp")
        stuck.append(support.record(api, namespace))
        api.wait_for(
            lambda: support.records(api, namespace) == {good, stuck[-1]},
            message="the last good record and the present one",
        )
    obj = support.child(api, namespace, "VLLMServer", "chat")
    assert condition(obj, "Available")["status"] == "True", "the old pod serves"
    support.put(api, support.server(namespace, cache=SHARED_CACHE))
    support.wait_serving(api, namespace)
    assert support.record(api, namespace) == good
    api.wait_for(lambda: support.records(api, namespace) == {good}, message="stuck records go")


def test_a_new_default_image_moves_no_server(
    cluster: Cluster, api: Api, namespace: str, audit: Audit
) -> None:
    newer = {
        "VLLM_OPERATOR_CPU_IMAGE": "registry.example/vllm-cpu:v0.32.1",
        "VLLM_OPERATOR_CPU_ENGINE": "vllm 0.32.1",
    }
    with OperatorProcess(cluster, [namespace]) as first:
        support.put(api, support.server(namespace))
        before = support.wait_serving(api, namespace)
        support.wait_at_rest(audit, first, namespace)
        deployment = support.child(api, namespace, "Deployment", "chat")
    mark = audit.mark()
    with OperatorProcess(cluster, [namespace], newer) as second:
        support.wait_reconciles(api, second, 1)
        support.wait_at_rest(audit, second, namespace)
        # But for the status, which tells that there is something new to take.
        written = audit.writes(second.user, since=mark)
        assert {(each.resource, each.subresource) for each in written} == {("vllmservers", "status")}
        # An edit makes a new template, and keeps the image that this server began with.
        support.put(api, support.server(namespace, engineArgs={"seed": 7}))
        after = support.wait_serving(api, namespace)
        assert after["status"]["image"] == before["status"]["image"]
        assert support.child(api, namespace, "Deployment", "chat")["spec"] != deployment["spec"]
        # A new server takes the new default.
        support.put(api, support.server(namespace, "other"))
        other = support.wait_serving(api, namespace, "other")
        assert other["status"]["image"] == newer["VLLM_OPERATOR_CPU_IMAGE"]

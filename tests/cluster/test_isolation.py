"""A bad server harms no other, and leaves no trace once it is mended."""

from tests.cluster import support
from tests.harness.api import Api, ApiError, Object
from tests.harness.operator import OperatorProcess

UNKNOWN_FLAG = ["--max-model-len=512", "--no-such-flag"]


def test_an_unknown_flag_is_named_and_can_be_mended(
    api: Api, namespace: str, shared: OperatorProcess
) -> None:
    support.put(api, support.server(namespace, extraArgs=UNKNOWN_FLAG))
    words = "spec.extraArgs[1]: --no-such-flag is not a flag of vllm 0.32"
    support.wait_stalled(api, namespace, "chat", "InvalidForEngine", words=words)
    assert support.children(api, namespace) == {}
    support.put(api, support.server(namespace, extraArgs=UNKNOWN_FLAG[:1]))
    support.wait_serving(api, namespace)


def test_a_bad_server_does_not_delay_another(api: Api, namespace: str, shared: OperatorProcess) -> None:
    bad = [
        support.server(namespace, "flag", extraArgs=UNKNOWN_FLAG),
        support.server(namespace, "engine", image=support.IMAGE, engine={"family": "vllm", "version": "9.9"}),
        support.server(namespace, "pull", life="image-pull"),
        support.server(namespace, "crash", life="crash"),
        # Only the API server knows that this name of a resource is none.
        support.server(namespace, "resource", resources={"limits": {"no/such/name": 1}}),
    ]
    for obj in bad:
        support.put(api, obj)
    support.put(api, support.server(namespace, "good"))
    support.wait_serving(api, namespace, "good")
    support.wait_stalled(api, namespace, "flag", "InvalidForEngine")
    support.wait_stalled(api, namespace, "engine", "InvalidForEngine", words="9.9")
    support.wait_reconciling(api, namespace, "pull", "ImagePullFailed")
    support.wait_reconciling(api, namespace, "crash", "CrashLooping")
    support.wait_stalled(api, namespace, "resource", "ChildRejected", words="no/such/name")


def test_a_stored_object_that_breaks_the_rules_is_told_and_harms_nobody(
    api: Api, namespace: str, shared: OperatorProcess
) -> None:
    """An object that was stored under looser rules than those of today."""
    path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/vllmservers.vllm-operator.dev"
    field = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/tensorParallelSize"

    def rule(least: int) -> None:
        operations = [{"op": "replace", "path": f"{field}/minimum", "value": least}]
        api.request("PATCH", path, operations, "application/json-patch+json")

    rule(-9)
    try:
        old = support.server(namespace, "old", tensorParallelSize=-1)
        api.wait_for(lambda: _stored(api, old), message="the API server takes the looser rule")
    finally:
        rule(1)
    support.put(api, support.server(namespace, "good"))
    support.wait_serving(api, namespace, "good")
    support.wait_stalled(api, namespace, "old", "InvalidSpec", words="spec.tensorParallelSize")
    api.patch("VLLMServer", namespace, "old", {"spec": {"tensorParallelSize": 1}})
    support.wait_serving(api, namespace, "old")


def _stored(api: Api, obj: Object) -> bool:
    try:
        support.put(api, obj)
    except ApiError as error:
        if error.code == 422:
            return False
        raise
    return True


def test_good_bad_good_ends_as_it_began(api: Api, namespace: str, shared: OperatorProcess) -> None:
    good = support.server(namespace)
    support.put(api, good)
    support.wait_serving(api, namespace)
    before = support.children(api, namespace)
    pods = [pod["metadata"]["uid"] for pod in api.list("Pod", namespace)]
    bad = [
        (support.server(namespace, extraArgs=UNKNOWN_FLAG), "InvalidForEngine"),
        (support.server(namespace, resources={"limits": {"no/such/name": 1}}), "ChildRejected"),
    ]
    for obj, reason in bad:
        support.put(api, obj)
        support.wait_stalled(api, namespace, "chat", reason)
        assert [pod["metadata"]["uid"] for pod in api.list("Pod", namespace)] == pods, "the old pod serves on"
        support.put(api, good)
        support.wait_serving(api, namespace)
    api.wait_for(
        lambda: set(support.children(api, namespace)) == set(before), message="the same children as before"
    )
    after = support.children(api, namespace)
    for ref, obj in before.items():
        assert after[ref]["metadata"]["uid"] == obj["metadata"]["uid"], ref
    deployment = ("Deployment", "chat")
    assert after[deployment]["metadata"]["generation"] == before[deployment]["metadata"]["generation"]
    assert [pod["metadata"]["uid"] for pod in api.list("Pod", namespace)] == pods

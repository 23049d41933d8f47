"""The prefetch Job: it comes before the pods, and what it has found is kept."""

from tests.cluster import support
from tests.harness.api import Api, condition
from tests.harness.operator import OperatorProcess

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def test_the_cache_is_filled_before_there_are_pods(api: Api, namespace: str, shared: OperatorProcess) -> None:
    created = support.put(api, support.server(namespace, prefetch=True))
    ready = support.wait_serving(api, namespace)
    assert ready["status"]["modelRevision"] == COMMIT
    assert condition(ready, "ModelCached")["status"] == "True"
    jobs = support.history(api, "Job", namespace, created, lambda obj: obj["change"] == "DELETED")
    pods = api.list("Pod", namespace, labels="app.kubernetes.io/component=server")
    assert pods[0]["metadata"]["creationTimestamp"] >= jobs[-1]["status"]["completionTime"]
    args = pods[0]["spec"]["containers"][0]["args"]
    assert args[args.index("--revision") + 1] == COMMIT

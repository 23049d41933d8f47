"""A prefetch that fails: what the program said becomes a reason, and the message's line leads out of it."""

import pytest

from tests.cluster import prefetching, support
from tests.cluster.kubectl import follow, lines
from tests.cluster.prefetching import ACT, AGAIN, COMMIT, held, report
from tests.harness.api import Api, condition
from tests.harness.operator import Cluster, OperatorProcess

SAID = {
    "GatedModel": "The hub answered 403 (model org/model is restricted). Ask for access on its page.",
    "ModelNotFound": 'The hub knows no "org/model".',
    "InvalidToken": "The hub answered 401: the token is not accepted",
    "CacheFull": "140,000 bytes are missing on the volume",
    "CacheNotReadable": "/data/hub belongs to uid 0 and cannot be written",
    "HubUnreachable": "The hub did not answer for two hours",
    "PrefetchFailed": "Traceback (most recent call last): \U0001f600",
}


@pytest.mark.parametrize("reason", SAID)
def test_what_the_program_says_stalls_and_the_line_tries_again(
    cluster: Cluster, api: Api, namespace: str, shared: OperatorProcess, reason: str
) -> None:
    words = report(reason, SAID[reason])
    support.put(api, support.server(namespace, life="crash", message=words, prefetch=True))
    message = support.wait_stalled(api, namespace, "chat", reason, words=SAID[reason].rstrip("."))
    job = prefetching.job(api, namespace)
    name = job["metadata"]["name"]
    assert lines(message) == [f"kubectl -n {namespace} delete job {name}"]
    told = condition(support.child(api, namespace, "VLLMServer", "chat"), "ModelCached")
    assert (told["status"], told["reason"]) == ("False", reason)
    assert prefetching.server_pods(api, namespace) == []
    assert follow(cluster, message, "delete job").startswith(f'job.batch "{name}" deleted')
    again = prefetching.job(api, namespace, but=job["metadata"]["uid"])
    assert again["metadata"]["name"] == name


def test_when_the_cause_is_mended_the_line_leads_to_serving(
    cluster: Cluster, api: Api, namespace: str, shared: OperatorProcess
) -> None:
    support.put(api, held(namespace))
    job = prefetching.job(api, namespace)
    prefetching.end(api, namespace, job, ACT, report("GatedModel", "Ask for access"))
    message = support.wait_stalled(api, namespace, "chat", "GatedModel", words="Ask for access")
    follow(cluster, message, "delete job")
    again = prefetching.job(api, namespace, but=job["metadata"]["uid"])
    support.wait_reconciling(api, namespace, "chat", "Prefetching")
    prefetching.end(api, namespace, again)
    assert support.wait_serving(api, namespace)["status"]["modelRevision"] == COMMIT


def test_another_token_is_another_try(api: Api, namespace: str, shared: OperatorProcess) -> None:
    support.put(api, held(namespace))
    prefetching.end(api, namespace, prefetching.job(api, namespace), ACT, report("InvalidToken", "no"))
    support.wait_stalled(api, namespace, "chat", "InvalidToken")
    model = {"name": "Qwen/Qwen3-0.6B", "tokenSecretRef": {"name": "hf"}}
    support.put(api, held(namespace, model=model))
    support.wait_reconciling(api, namespace, "chat", "Prefetching")
    prefetching.end(api, namespace, prefetching.job(api, namespace))
    support.wait_serving(api, namespace)


@pytest.mark.parametrize(
    ("code", "said", "reason"),
    [
        (AGAIN, report("HubUnreachable", "The hub does not answer"), "HubUnreachable"),
        (70, "Traceback: nobody foresaw it", "PrefetchFailed"),
    ],
    ids=["75", "70"],
)
def test_a_failure_that_passes_is_tried_again(
    *, api: Api, namespace: str, shared: OperatorProcess, code: int, said: str, reason: str
) -> None:
    created = support.put(api, held(namespace))
    job = prefetching.job(api, namespace)
    first = prefetching.end(api, namespace, job, code, said)
    message = support.wait_reconciling(api, namespace, "chat", reason, words="It is tried again")
    assert "delete job" not in message, "nothing is to be done"
    # The Job controller waits ten seconds before its next try.
    second = prefetching.end(api, namespace, job)
    assert second != first
    support.wait_serving(api, namespace)
    assert len(prefetching.uids(prefetching.jobs_since(api, namespace, created))) == 1


def test_a_quota_that_refuses_the_pod_is_told_in_its_words(
    cluster: Cluster, api: Api, namespace: str, shared: OperatorProcess
) -> None:
    metadata = {"name": "limit", "namespace": namespace}
    api.create(
        {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": metadata, "spec": {"hard": {"pods": "0"}}}
    )
    api.wait_object("ResourceQuota", namespace, "limit", lambda obj: obj.get("status", {}).get("hard"))
    support.put(api, support.server(namespace, prefetch=True))
    message = support.wait_stalled(api, namespace, "chat", "ChildRejected", words="exceeded quota: limit")
    job = prefetching.job(api, namespace)
    assert job["metadata"]["name"] in message
    api.delete("ResourceQuota", namespace, "limit")
    follow(cluster, message, "delete job")
    support.wait_serving(api, namespace)


def test_a_secret_that_is_missing(
    cluster: Cluster, api: Api, namespace: str, shared: OperatorProcess
) -> None:
    model = {"name": "org/model", "tokenSecretRef": {"name": "hf"}}
    support.put(api, support.server(namespace, life="no-secret", model=model, prefetch=True))
    words = 'secret "hf" not found. Make what spec.model.tokenSecretRef names'
    message = support.wait_reconciling(api, namespace, "chat", "SecretNotFound", words=words)
    assert prefetching.server_pods(api, namespace) == []
    assert follow(cluster, message, "create secret") == "secret/hf created\n"
    (pod,) = api.list("Pod", namespace, labels=prefetching.OF_JOBS)
    found = {"metadata": {"annotations": {"test-found": "yes"}}}
    api.patch("Pod", namespace, pod["metadata"]["name"], found)
    support.wait_serving(api, namespace)


def test_an_eviction_is_not_the_programs_fault(api: Api, namespace: str, shared: OperatorProcess) -> None:
    support.put(api, held(namespace))
    job = prefetching.job(api, namespace)
    pod = prefetching.running_pod(api, namespace, job)
    api.patch("Pod", namespace, pod["metadata"]["name"], {"metadata": {"annotations": {"test-evict": "y"}}})
    message = support.wait_reconciling(api, namespace, "chat", "Evicted", words="low on resource: memory")
    assert pod["metadata"]["name"] in message
    prefetching.end(api, namespace, job)
    support.wait_serving(api, namespace)

"""The prefetch Job: it comes before the pods, there is one for one recipe, and what it has found is kept."""

from typing import Any

import pytest

from tests.cluster import prefetching, support
from tests.cluster.prefetching import COMMIT, held
from tests.harness.api import Api, Object, condition
from tests.harness.audit import Audit
from tests.harness.manifests import is_ready
from tests.harness.operator import OperatorProcess

SHARED = {"size": "50Gi", "accessModes": ["ReadWriteMany"]}
OTHER: Object = {"name": "Qwen/Qwen3-4B"}


def test_the_cache_is_filled_before_there_are_pods(
    api: Api, namespace: str, operator: OperatorProcess
) -> None:
    created = support.put(api, support.server(namespace, prefetch=True))
    ready = support.wait_serving(api, namespace)
    assert ready["status"]["modelRevision"] == COMMIT
    cached = condition(ready, "ModelCached")
    assert (cached["status"], cached["reason"]) == ("True", "Cached")
    assert cached["message"] == f"Claim chat-cache holds commit {COMMIT}"

    def gone(obj: Object) -> bool:
        return bool(obj["change"] == "DELETED")

    jobs = support.history(api, "Job", namespace, created, gone)
    # The pod's report is what counts: the Job controller comes later.
    done = support.history(
        api, "Pod", namespace, created, lambda obj: obj.get("status", {}).get("phase") == "Succeeded"
    )[-1]
    assert done["metadata"]["ownerReferences"][0]["kind"] == "Job"
    (pod,) = prefetching.server_pods(api, namespace)
    uid = pod["metadata"]["uid"]
    first = support.history(api, "Pod", namespace, created, lambda obj: obj["metadata"]["uid"] == uid)[-1]
    assert support.version(first) > support.version(done)
    args = pod["spec"]["containers"][0]["args"]
    assert args[args.index("--revision") + 1] == COMMIT
    # Job and program go once the record holds what they found, and not before.
    (digest,) = support.records(api, namespace)
    record = support.child(api, namespace, "ControllerRevision", f"chat-{digest}")
    assert record["data"]["inputs"]["commit"] == COMMIT
    program = support.history(api, "ConfigMap", namespace, created, gone)
    assert program[-1]["metadata"]["name"] == "chat-prefetch"
    assert min(support.version(jobs[-1]), support.version(program[-1])) > support.version(record)
    told = [condition(obj, "Ready").get("reason") for obj in _states(api, namespace, created)]
    assert told.index("Prefetching") < told.index("Serving")


def _states(api: Api, namespace: str, since: Object) -> list[Object]:
    return support.history(
        api, "VLLMServer", namespace, since, lambda obj: condition(obj, "Ready").get("status") == "True"
    )


def _rise_again(operator: OperatorProcess, *, hard: bool) -> None:
    """End the operator and start it anew; its first look at everything is over when this returns."""
    operator.kill() if hard else operator.stop()
    operator.start()


@pytest.mark.parametrize("hard", [True, False], ids=["kill -9", "restart"])
def test_one_job_for_one_recipe_whatever_restarts(
    api: Api, namespace: str, operator: OperatorProcess, audit: Audit, *, hard: bool
) -> None:
    created = support.put(api, held(namespace))
    job = prefetching.job(api, namespace)
    _rise_again(operator, hard=hard)  # the Job has just been made
    prefetching.running_pod(api, namespace, job)
    support.wait_reconciling(api, namespace, "chat", "Prefetching")
    _rise_again(operator, hard=hard)  # its pod runs
    support.wait_at_rest(audit, operator, namespace)
    assert prefetching.server_pods(api, namespace) == []
    operator.kill() if hard else operator.stop()
    prefetching.end(api, namespace, job)  # nobody is there to see it
    name = job["metadata"]["name"]
    api.wait_object("Job", namespace, name, prefetching.completed, timeout=60)
    operator.start()
    api.wait_object("Deployment", namespace, "chat", timeout=60)
    _rise_again(operator, hard=hard)  # the record has just been made
    support.wait_serving(api, namespace)
    _rise_again(operator, hard=hard)
    support.wait_at_rest(audit, operator, namespace)
    seen = prefetching.jobs_since(api, namespace, created)
    assert prefetching.uids(seen) == [job["metadata"]["uid"]]
    assert seen[-1]["change"] == "DELETED"
    assert support.records(api, namespace) == {support.record(api, namespace)}


def test_a_lost_status_is_rebuilt_without_another_job(
    api: Api, namespace: str, operator: OperatorProcess, audit: Audit
) -> None:
    support.put(api, support.server(namespace, prefetch=True))
    before = support.wait_serving(api, namespace)
    support.wait_at_rest(audit, operator, namespace)

    def lose() -> Object:
        return api.patch("VLLMServer", namespace, "chat", {"status": None}, "status")

    def rebuilt(obj: Object) -> bool:
        told = obj["status"].get("conditions") or []
        times = {"lastTransitionTime": ""}
        return [each | times for each in told] == [each | times for each in before["status"]["conditions"]]

    lost = lose()
    assert "modelRevision" not in lost["status"]
    api.wait_object("VLLMServer", namespace, "chat", rebuilt, timeout=60)
    operator.stop()
    lose()
    operator.start()
    after = api.wait_object("VLLMServer", namespace, "chat", rebuilt, timeout=60)
    assert after["status"]["modelRevision"] == COMMIT
    support.wait_at_rest(audit, operator, namespace)
    assert prefetching.jobs_since(api, namespace, lost) == []


def test_a_job_that_somebody_deletes_is_made_anew(
    api: Api, namespace: str, operator: OperatorProcess, audit: Audit
) -> None:
    created = support.put(api, held(namespace))
    job = prefetching.job(api, namespace)
    prefetching.running_pod(api, namespace, job)
    api.delete("Job", namespace, job["metadata"]["name"], propagation="Background")
    again = prefetching.job(api, namespace, but=job["metadata"]["uid"])
    assert again["metadata"]["name"] == job["metadata"]["name"]
    support.wait_reconciling(api, namespace, "chat", "Prefetching")
    prefetching.end(api, namespace, again)
    support.wait_serving(api, namespace)
    assert len(prefetching.uids(prefetching.jobs_since(api, namespace, created))) == 2


def test_another_model_is_fetched_while_the_old_one_serves(
    api: Api, namespace: str, operator: OperatorProcess
) -> None:
    support.put(api, held(namespace, cache=SHARED))
    prefetching.end(api, namespace, prefetching.job(api, namespace))
    support.wait_serving(api, namespace)
    (old,) = prefetching.server_pods(api, namespace)
    edited = support.put(api, held(namespace, cache=SHARED, model=OTHER))
    message = support.wait_reconciling(api, namespace, "chat", "Prefetching")
    job = prefetching.job(api, namespace)
    assert f"Job {job['metadata']['name']} downloads the model into claim chat-cache" in message
    now = support.child(api, namespace, "VLLMServer", "chat")
    assert condition(now, "Available")["status"] == "True"
    assert condition(now, "ModelCached")["status"] == "False"
    # It can be scaled meanwhile: what serves is what there is more of.
    api.scale("VLLMServer", namespace, "chat", 2)
    api.wait_object(
        "Deployment", namespace, "chat", lambda obj: obj["status"].get("readyReplicas") == 2, timeout=60
    )
    assert {_model(pod) for pod in prefetching.server_pods(api, namespace)} == {"Qwen/Qwen3-0.6B"}
    api.scale("VLLMServer", namespace, "chat", 1)
    api.wait_object(
        "Deployment", namespace, "chat", lambda obj: obj["status"].get("replicas") == 1, timeout=60
    )
    support.wait_reconciling(api, namespace, "chat", "Prefetching")
    prefetching.end(api, namespace, job)
    support.wait_serving(api, namespace)
    (new,) = api.wait_for(
        lambda: [pod for pod in prefetching.server_pods(api, namespace) if _model(pod) == OTHER["name"]]
    )
    assert new["metadata"]["uid"] != old["metadata"]["uid"]

    def through(obj: Object) -> bool:
        return bool(obj["status"].get("updatedReplicas") == 1 and _model_of(obj) == OTHER["name"])

    states = support.history(api, "Deployment", namespace, edited, through)
    assert {obj["status"].get("readyReplicas", 0) >= 1 for obj in states} == {True}, "somebody always answers"
    told = [condition(obj, "Ready") for obj in _states(api, namespace, edited)]
    assert {each["reason"] for each in told[1:-1]} <= {"Prefetching", "RollingOut", "WarmingUp"}, told
    assert "Prefetching" in {each["reason"] for each in told}


def _model(pod: Object) -> str:
    return str(pod["spec"]["containers"][0]["args"][0])


def _model_of(deployment: Object) -> str:
    return _model(deployment["spec"]["template"])


def test_an_edit_during_a_prefetch_replaces_the_job(
    api: Api, namespace: str, operator: OperatorProcess, audit: Audit
) -> None:
    created = support.put(api, held(namespace))
    first = prefetching.job(api, namespace)
    support.put(api, held(namespace, model=OTHER))
    second = prefetching.job(api, namespace, but=first["metadata"]["uid"])
    assert second["metadata"]["name"] != first["metadata"]["name"]
    assert second["spec"]["template"]["spec"]["containers"][0]["args"] == [OTHER["name"]]
    # What decides no download leaves the Job alone.
    support.put(api, held(namespace, model=OTHER, engineArgs={"seed": 1}, replicas=2, service={"port": 80}))
    support.wait_reconciling(api, namespace, "chat", "Prefetching")
    support.wait_at_rest(audit, operator, namespace)
    seen = prefetching.jobs_since(api, namespace, created)
    assert prefetching.uids(seen) == [first["metadata"]["uid"], second["metadata"]["uid"]]
    prefetching.end(api, namespace, second)
    support.wait_serving(api, namespace)
    assert {_model(pod) for pod in prefetching.server_pods(api, namespace)} == {OTHER["name"]}


def test_a_pause_keeps_what_was_fetched(api: Api, namespace: str, operator: OperatorProcess) -> None:
    support.put(api, held(namespace, paused=True))
    support.wait_stalled(api, namespace, "chat", "Paused", words="Job chat-prefetch-")
    assert support.children(api, namespace) == {}
    support.put(api, held(namespace))
    job = prefetching.job(api, namespace)
    support.put(api, held(namespace, paused=True))
    support.wait_condition(api, namespace, "chat", "Prefetching", "False")
    prefetching.end(api, namespace, job)
    support.wait_stalled(api, namespace, "chat", "Paused", words="Deployment chat")
    assert api.get("Deployment", namespace, "chat") is None
    assert prefetching.uids(api.list("Job", namespace)) == [job["metadata"]["uid"]]
    resumed = support.put(api, held(namespace))
    support.wait_serving(api, namespace)
    assert {job["metadata"]["uid"]} >= set(
        prefetching.uids(prefetching.jobs_since(api, namespace, resumed))
    ), "and it is not fetched again"


NEEDS_NONE: dict[str, dict[str, Any]] = {
    "prefetch is false": {"prefetch": False},
    "a path below data": {"model": {"name": "/data/models/a"}},
    "offline": {"model": {"name": "org/model", "offline": True}},
}


@pytest.mark.parametrize("spec", NEEDS_NONE.values(), ids=NEEDS_NONE)
def test_who_needs_none_has_none(
    api: Api, namespace: str, operator: OperatorProcess, spec: dict[str, Any]
) -> None:
    created = support.put(api, support.server(namespace, **({"prefetch": True} | spec)))
    ready = support.wait_serving(api, namespace)
    assert not condition(ready, "ModelCached")
    assert prefetching.jobs_since(api, namespace, created) == []
    assert [
        obj["kind"] for obj in support.children(api, namespace).values() if obj["kind"] == "ConfigMap"
    ] == []


def test_only_the_job_has_the_token_and_the_hub(api: Api, namespace: str, operator: OperatorProcess) -> None:
    model = {"name": "org/model", "hubEndpoint": "https://hub.example", "tokenSecretRef": {"name": "hf"}}
    support.put(api, held(namespace, model=model))
    job = prefetching.job(api, namespace)
    pod = prefetching.running_pod(api, namespace, job)
    found = prefetching.variables(pod["spec"])
    assert found["HF_ENDPOINT"]["value"] == "https://hub.example"
    assert found["HF_TOKEN"]["valueFrom"] == {"secretKeyRef": {"name": "hf", "key": "HF_TOKEN"}}
    prefetching.end(api, namespace, job)
    support.wait_serving(api, namespace)
    (serves,) = prefetching.server_pods(api, namespace)
    variables = prefetching.variables(serves["spec"])
    assert not {"HF_ENDPOINT", "HF_TOKEN"} & set(variables)
    assert (variables["HF_HUB_OFFLINE"]["value"], variables["TRANSFORMERS_OFFLINE"]["value"]) == ("1", "1")


def test_its_pod_passes_restricted_without_a_warning(
    api: Api, namespace: str, operator: OperatorProcess
) -> None:
    support.put(api, held(namespace, cache={"claimName": "weights", "fsGroup": 2000}))
    job = prefetching.job(api, namespace)
    warned = len(api.warnings)
    template = job["spec"]["template"]
    labels = {key: value for key, value in template["metadata"]["labels"].items() if "uid" not in key}
    metadata = {"name": "again", "namespace": namespace, "labels": labels}
    copy = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}
    api.create(copy, dry_run=True)
    assert api.warnings[warned:] == []
    # Where it would not, the API server says so.
    template["spec"]["containers"][0]["securityContext"].pop("capabilities")
    with pytest.raises(Exception, match="violates PodSecurity"):
        api.create(copy, dry_run=True)


def test_a_lost_report_is_fetched_anew(api: Api, namespace: str, operator: OperatorProcess) -> None:
    """Such as when a node goes, with the pod that has told it, while the operator is away."""
    support.put(api, held(namespace))
    job = prefetching.job(api, namespace)
    prefetching.running_pod(api, namespace, job)
    operator.stop()
    pod = prefetching.end(api, namespace, job)
    api.wait_object("Job", namespace, job["metadata"]["name"], prefetching.completed, timeout=60)
    api.delete("Pod", namespace, pod)
    api.wait_gone("Pod", namespace, pod)
    operator.start()
    again = prefetching.job(api, namespace, but=job["metadata"]["uid"])
    prefetching.end(api, namespace, again)
    support.wait_serving(api, namespace)
    api.wait_for(lambda: all(map(is_ready, prefetching.server_pods(api, namespace))))

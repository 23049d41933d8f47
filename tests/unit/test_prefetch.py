"""The prefetch of a server: when it is needed, what its Job is, and what it leads to."""

import json
from dataclasses import replace
from typing import Any

import pytest

from tests.unit.things import (
    DEFAULT,
    DEFAULT_IMAGE,
    claim,
    defaults,
    deployment,
    full,
    job,
    kinds,
    observed,
    pod,
    record_of,
    server,
)
from vllm_operator.api.observed import Observed, Target
from vllm_operator.api.reasons import StalledError
from vllm_operator.api.seen import Child, JobFacts, PodFacts
from vllm_operator.controller.facts import child as child_facts
from vllm_operator.desired import records
from vllm_operator.desired.defaults import Defaults, Image
from vllm_operator.desired.manifests import Desired
from vllm_operator.desired.server import desired, superfluous

COMMIT = "0123456789abcdef0123456789abcdef01234567"
REPORT = {
    "commit": COMMIT,
    "files": 3,
    "bytes": 5,
    "downloaded": 5,
    "adopted": {"files": 0, "bytes": 0, "from": []},
    "cache": "/data/hub",
}
ON = {"prefetch": True}
SPEC: dict[str, Any] = ON | {"model": {"name": "org/model", "tokenSecretRef": {"name": "hf"}}}


def made(spec: dict[str, Any], *children: Child, **seen: Any) -> Desired[Target]:
    return desired(observed(server(spec), *children, **seen), DEFAULT)


def reported(spec: dict[str, Any], *pods: PodFacts, job_: Child | None = None) -> Desired[Target]:
    """What a server whose Job has ended comes to: its pods are believed, for the Job is its own."""
    return made(spec, job_ or job(name_of(spec)), pods=pods)


def commit_of(of: Desired[Target]) -> str | None:
    assert of.target.prefetch is not None
    cached = of.target.prefetch.cached
    return cached.commit if cached else None


def job_of(spec: dict[str, Any], *children: Child, **seen: Any) -> Any:
    return kinds(made(spec, *children, **seen).manifests)["Job"]


def name_of(spec: dict[str, Any]) -> str:
    return str(job_of(spec)["metadata"]["name"])


def done(spec: dict[str, Any], commit: str = COMMIT, **facts: Any) -> PodFacts:
    """The pod of the Job that has succeeded."""
    plain = {
        "exit_code": 0,
        "last_words": json.dumps(REPORT | {"commit": commit}),
        "started_at": "",
        "ready": False,
    }
    name = name_of(spec)
    owner = {"job": name, "job_uid": f"uid-of-{name}"}
    return pod(name="chat-prefetch-1", record=None, **(plain | owner | facts))


@pytest.mark.parametrize(
    "spec",
    [
        {"prefetch": False},
        {"model": {"name": "org/model", "offline": True}},
        {"model": {"name": "/data/models/a"}},
    ],
    ids=str,
)
def test_who_needs_none(spec: dict[str, Any]) -> None:
    target = made(ON | spec)
    assert target.target.prefetch is None
    assert "Deployment" in kinds(target.manifests)
    assert not {"Job", "ConfigMap"} & set(kinds(target.manifests))


def test_first_the_cache_and_then_pods() -> None:
    first = made(SPEC)
    assert list(kinds(first.manifests)) == [
        *("ServiceAccount", "PersistentVolumeClaim", "Service", "ConfigMap", "Job")
    ]
    assert (first.target.record, commit_of(first)) == ("", None)
    then = reported(SPEC, done(SPEC))
    assert commit_of(then) == COMMIT
    container = kinds(then.manifests)["Deployment"]["spec"]["template"]["spec"]["containers"][0]
    args, variables = container["args"], {entry["name"] for entry in container["env"]}
    assert args[args.index("--revision") + 1] == COMMIT
    assert variables >= {"HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"}
    assert not {"HF_TOKEN", "HF_ENDPOINT"} & variables, "only the prefetch has the token"


def test_only_the_job_has_the_token_and_the_hub() -> None:
    spec = SPEC | {"model": SPEC["model"] | {"hubEndpoint": "https://hub.example"}}
    (container,) = job_of(spec)["spec"]["template"]["spec"]["containers"]
    variables = {entry["name"]: entry for entry in container["env"]}
    assert variables["HF_ENDPOINT"]["value"] == "https://hub.example"
    assert variables["HF_TOKEN"]["valueFrom"] == {"secretKeyRef": {"name": "hf", "key": "HF_TOKEN"}}
    assert not {"HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"} & set(variables)


def test_the_job_asks_for_no_card_and_passes_pod_security() -> None:
    spec = job_of(ON | {"device": "gaudi", "gaudi": {"sysNice": True, "runtimeClassName": "habana"}})
    pod_spec = spec["spec"]["template"]["spec"]
    (container,) = pod_spec["containers"]
    assert "habana.ai/gaudi" not in json.dumps(pod_spec)
    assert "runtimeClassName" not in pod_spec
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert pod_spec["securityContext"]["runAsNonRoot"] is True
    assert pod_spec["automountServiceAccountToken"] is False


@pytest.mark.parametrize(
    "report",
    [
        *("", "{}", "[]", '{"commit": 1}'),
        json.dumps(REPORT | {"commit": "main"}),
        json.dumps(REPORT | {"cache": "/etc"}),
        json.dumps(REPORT | {"cache": "/data/../etc"}),
        json.dumps({"reason": "GatedModel", "message": "no"}),
    ],
)
def test_what_is_no_report_tells_no_commit(report: str) -> None:
    assert reported(SPEC, done(SPEC, last_words=report)).target.record == ""


def test_other_pods_tell_no_commit() -> None:
    others = [done(SPEC, exit_code=1), done(SPEC, job_uid="uid-of-another"), done(SPEC, job_uid=None)]
    assert reported(SPEC, *others).target.record == ""


def test_the_job_of_an_earlier_server_of_this_name_tells_no_commit() -> None:
    name = name_of(SPEC)
    assert reported(SPEC, done(SPEC)).target.record
    for other in (job(name, owner="uid-0"), job(name, uid="uid-of-a-later-job"), job("chat-prefetch-other")):
        assert reported(SPEC, done(SPEC), job_=other).target.record == ""


def kept(spec: dict[str, Any] = SPEC, commit: str = COMMIT) -> Child:
    return record_of(kinds(reported(spec, done(spec, commit)).manifests)["ControllerRevision"])


def test_what_was_found_is_kept_in_the_record_and_never_resolved_again() -> None:
    later = made(SPEC, kept())
    assert commit_of(later) == COMMIT
    edited = made(SPEC | {"engineArgs": {"seed": 1}}, kept())
    assert commit_of(edited) == COMMIT
    assert {"Job", "ConfigMap"} & set(kinds(edited.manifests)) == set()


@pytest.mark.parametrize(
    "spec",
    [
        {"model": {"name": "org/other"}},
        {"model": {"name": "org/model", "revision": "v2"}},
        {"cache": {"claimName": "weights"}},
        {"rollout": {"refresh": "again"}},
        {"model": {"name": "org/model", "trustRemoteCode": True}},
        {"extraArgs": ["--load-format", "mistral"]},
    ],
    ids=str,
)
def test_another_model_revision_claim_or_refresh_is_resolved(spec: dict[str, Any]) -> None:
    assert made(SPEC | spec, kept()).target.record == ""


def test_once_the_cache_is_filled_token_and_hub_decide_no_pod() -> None:
    first = made(SPEC, kept())
    other = {"name": "org/model", "tokenSecretRef": {"name": "new"}, "hubEndpoint": "https://mirror.example"}
    assert made(ON | {"model": other}, kept()).target.record == first.target.record


@pytest.mark.parametrize(
    "spec",
    [
        {"model": {"name": "org/model", "tokenSecretRef": {"name": "new"}}},
        {"model": {"name": "org/model", "hubEndpoint": "https://mirror.example"}},
        {"nodeSelector": {"a": "b"}},
        {"proxy": {"httpsProxy": "http://proxy.example"}},
        {"extraEnv": [{"name": "https_proxy", "value": "http://proxy.example"}]},
        {"image": "own:1", "engine": {"family": "vllm", "version": "0.32"}},
        {"cache": {"size": "10Gi", "fsGroup": 5}},
        {"resources": {"limits": {"memory": "8Gi"}}},
        {"podLabels": {"team": "a"}},
        {"podAnnotations": {"a/b": "c"}},
    ],
    ids=str,
)
def test_what_decides_the_job_names_another(spec: dict[str, Any]) -> None:
    assert name_of(SPEC | spec) != name_of(SPEC)


@pytest.mark.parametrize(
    "spec", [{"engineArgs": {"seed": 1}}, {"replicas": 3}, {"cache": {"size": "20Gi"}}], ids=str
)
def test_what_does_not_names_the_same(spec: dict[str, Any]) -> None:
    assert name_of(SPEC | spec) == name_of(SPEC)


def test_what_the_engine_does_not_know_is_said_before_the_download() -> None:
    with pytest.raises(StalledError, match="--nope is not a flag"):
        made(SPEC | {"extraArgs": ["--nope"]})


def serving(spec: dict[str, Any] = SPEC) -> tuple[Child, Child]:
    """A record and the Deployment that runs it."""
    found = record_of(kinds(reported(spec, done(spec)).manifests)["ControllerRevision"])
    return found, deployment(record=found.name.rsplit("-", 1)[1])


def test_a_revision_that_serves_is_kept_while_another_model_is_fetched() -> None:
    record, running = serving()
    other = made(SPEC | {"model": {"name": "org/other"}, "replicas": 2}, record, running)
    made_ = kinds(other.manifests)
    assert (
        made_["Deployment"]["spec"]["template"]
        == kinds(made(SPEC, record, running).manifests)["Deployment"]["spec"]["template"]
    )
    assert made_["Deployment"]["spec"]["replicas"] == 2, "and may be scaled"
    assert list(made_)[-4:] == ["PodDisruptionBudget", "Deployment", "ConfigMap", "Job"], (
        "the Job comes last: what refuses it must not keep the Deployment from being scaled"
    )
    assert superfluous(observed(server(), record, running), set(), other.target) == ()


PLACED = {"affinity": {"nodeAffinity": {}}, "nodeSelector": {"disk": "fast"}}


def beside(**seen: Any) -> Any:
    record, running = serving()
    holds = {"claim": claim(), "pods": [pod()]} | seen
    pod_ = job_of(SPEC | PLACED | {"model": {"name": "org/other"}}, record, running, **holds)["spec"][
        "template"
    ]
    return {field: pod_["spec"][field] for field in PLACED if field in pod_["spec"]}


def test_a_job_runs_beside_the_pods_that_hold_the_claim() -> None:
    """And wherever these are: an edit that sends the server elsewhere does not keep the Job from there."""
    found = beside()
    assert list(found) == ["affinity"]
    assert list(found["affinity"]) == ["podAffinity"]
    (term,) = found["affinity"]["podAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    assert term["topologyKey"] == "kubernetes.io/hostname"
    assert term["labelSelector"]["matchLabels"]["app.kubernetes.io/component"] == "server"
    assert beside(claim=claim(access_modes=("ReadWriteMany",))) == PLACED
    assert "affinity" not in job_of(SPEC)["spec"]["template"]["spec"]


@pytest.mark.parametrize(
    "nowhere", [[], [pod(unschedulable="no node")], [pod(failure="Evicted")], [pod(job="other")]], ids=len
)
def test_pods_that_are_on_no_node_hold_nothing(nowhere: list[PodFacts]) -> None:
    assert beside(pods=nowhere) == PLACED


def test_a_job_tells_whether_it_runs_beside_others() -> None:
    record, running = serving()
    spec = SPEC | {"model": {"name": "org/other"}}

    def told(**seen: Any) -> bool:
        metadata = {"uid": "u", "resourceVersion": "1", "creationTimestamp": "2026-01-02T03:04:05Z"}
        made_ = job_of(spec, record, running, claim=claim(), **seen)
        facts = child_facts("Job", made_ | {"metadata": made_["metadata"] | metadata})
        assert isinstance(facts, JobFacts)
        return facts.beside

    assert told(pods=[pod()])
    assert not told()


def test_a_volume_is_not_bound_where_no_card_is() -> None:
    nodes = Defaults(DEFAULT.images, {"gaudi": "true"})

    def selector(spec: dict[str, Any]) -> Any:
        manifests = desired(observed(server(ON | spec)), nodes).manifests
        return kinds(manifests)["Job"]["spec"]["template"]["spec"].get("nodeSelector")

    assert selector({"device": "gaudi", "nodeSelector": {"a": "b"}}) == {"a": "b", "gaudi": "true"}
    assert selector({}) is None


def resources(wanted: dict[str, Any], **seen: Any) -> Any:
    (container,) = job_of(SPEC | {"resources": wanted}, **seen)["spec"]["template"]["spec"]["containers"]
    return container["resources"]


def test_where_a_volume_may_be_bound_the_server_must_fit() -> None:
    limits = {"cpu": "8", "memory": "32Gi"}
    wanted = {"limits": {"cpu": 8, "memory": "32Gi"}}
    assert resources(wanted) == resources(wanted, claim=claim(phase="Pending"))
    assert resources(wanted) == {"requests": limits, "limits": limits}
    assert resources(wanted, claim=claim()) == {
        "requests": {"cpu": "1", "memory": "2Gi"},
        "limits": limits,
    }


def test_the_job_never_asks_for_more_than_it_may_use() -> None:
    small = {"limits": {"memory": "1Gi"}}
    assert resources(small, claim=claim())["requests"] == {"cpu": "1", "memory": "1Gi"}
    assert "limits" not in resources({"requests": {"cpu": 4}}, claim=claim())


def test_a_server_of_an_operator_without_prefetch_is_left_as_it_is() -> None:
    """An upgrade restarts no server."""
    before = made(SPEC | {"prefetch": False})
    old = record_of(kinds(before.manifests)["ControllerRevision"])
    inputs = records.inputs(server(SPEC), DEFAULT_IMAGE, pinned=True, cached=None)
    known = replace(old, name=f"chat-{inputs.digest}", cached=None)
    after = made(SPEC, known)
    assert after.target.record == inputs.digest
    assert "Job" not in kinds(after.manifests)


def gone(seen: Observed) -> list[str]:
    wanted = desired(seen, DEFAULT)
    refs = {(m["kind"], m["metadata"]["name"]) for m in wanted.manifests}
    return [child.name for child in superfluous(seen, refs, wanted.target)]


def test_jobs_that_nobody_waits_for_go() -> None:
    name = name_of(SPEC)
    assert gone(observed(server(SPEC), job(name))) == []
    assert gone(observed(server(SPEC), job("chat-prefetch-old"), job(name))) == ["chat-prefetch-old"]
    assert gone(observed(server(SPEC), kept(), job(name))) == [name]


def test_a_job_whose_report_is_lost_is_made_anew() -> None:
    name = name_of(SPEC)
    succeeded = job(name, succeeded=True)
    assert gone(observed(server(SPEC), succeeded)) == [name]
    running = replace(done(SPEC), exit_code=None, last_words="")
    assert gone(observed(server(SPEC), succeeded, pods=[running])) == [], "its last word may come yet"


def test_a_job_that_waits_beside_nobody_is_made_anew() -> None:
    name = name_of(SPEC)
    waits = replace(done(SPEC), exit_code=None, last_words="", unschedulable="no node")
    for beside_, holder, expected in (
        (True, [], [name]),
        (True, [pod()], []),
        (False, [], []),
    ):
        found = observed(server(SPEC), job(name, beside=beside_), pods=[waits, *holder])
        assert gone(found) == expected
    runs = replace(waits, unschedulable="")
    assert gone(observed(server(SPEC), job(name, beside=True), pods=[runs])) == []


def test_the_image_is_the_servers() -> None:
    (container,) = kinds(desired(observed(server(SPEC)), defaults(Image("own:1", "vllm 0.32"))).manifests)[
        "Job"
    ]["spec"]["template"]["spec"]["containers"]
    assert container["image"] == "own:1"


@pytest.mark.parametrize("folder", ["/data/hub/hub", "/data"])
def test_a_cache_of_another_layout_that_cannot_be_written_is_used_where_it_is(folder: str) -> None:
    words = json.dumps(REPORT | {"cache": folder})
    then = reported(SPEC, done(SPEC, last_words=words))
    record = record_of(kinds(then.manifests)["ControllerRevision"])
    for each in (then, made(SPEC | {"engineArgs": {"seed": 1}}, record)):
        container = kinds(each.manifests)["Deployment"]["spec"]["template"]["spec"]["containers"][0]
        assert {"name": "HF_HUB_CACHE", "value": folder} in container["env"]


def test_the_program_is_told_what_the_server_will_need() -> None:
    model = {"name": "org/model", "revision": "v2", "trustRemoteCode": True}
    spec: dict[str, Any] = ON | {"model": model, "extraArgs": ["--load-format", "mistral"]}
    (container,) = job_of(spec)["spec"]["template"]["spec"]["containers"]
    wanted = ["org/model", "--revision", "v2", "--load-format", "mistral", "--trust-remote-code"]
    assert container["args"] == wanted
    assert container["command"] == ["python3", "-m", "podscripts.prefetch"]
    (mount,) = (m for m in container["volumeMounts"] if m["name"] == "script")
    assert mount["mountPath"] == f"{container['workingDir']}/podscripts"
    assert set(kinds(made(spec).manifests)["ConfigMap"]["data"]) >= {"__init__.py", "prefetch.py", "hub.py"}
    assert name_of(spec) != name_of(spec | {"extraArgs": ["--load-format=hf"]})


def test_no_value_is_expanded() -> None:
    (container,) = job_of(ON | {"model": {"name": "org/model", "revision": "a"}})["spec"]["template"]["spec"][
        "containers"
    ]
    assert container["args"][0] == "org/model"
    assert full({"spec.prefetch": True}).spec.prefetch

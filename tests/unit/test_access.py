"""Who may call a server: the key from a Secret, and the NetworkPolicies of its pods."""

from typing import Any

import pytest

from tests.unit import quantized
from tests.unit.things import (
    DEFAULT,
    RECORD,
    child,
    deployment,
    job,
    observed,
    pod,
    record,
    record_of,
    server,
    target,
)
from vllm_operator.api.observed import Cached, Observed, Prefetch
from vllm_operator.api.reasons import Reason
from vllm_operator.api.seen import Child
from vllm_operator.desired import calibration
from vllm_operator.desired.server import desired, superfluous
from vllm_operator.status.server import readiness
from vllm_operator.status.view import View

Manifest = dict[str, Any]
PEERS: list[Manifest] = [{"podSelector": {"matchLabels": {"app": "web"}}}, {"namespaceSelector": {}}]
POLICY = {"networkPolicy": {"from": PEERS}}
CACHED = Cached("0" * 40, "/data/hub")
FETCHED = {**POLICY, "prefetch": True}
OPEN, CLOSED = ["Ingress"], ["Ingress", "Egress"]


def children(seen: Observed, cached: Cached | None = None) -> dict[tuple[str, str], Manifest]:
    made = desired(seen, DEFAULT, cached).manifests
    return {(each["kind"], each["metadata"]["name"]): each for each in made}


def policies(spec: dict[str, Any], *seen: Child, cached: Cached | None = None) -> dict[str, Manifest]:
    made = children(observed(server(spec), *seen), cached)
    return {name: each for (kind, name), each in made.items() if kind == "NetworkPolicy"}


def environments(manifest: Manifest) -> dict[str, list[Manifest]]:
    pod = manifest["spec"]["template"]["spec"]
    containers = [*pod.get("initContainers", []), *pod["containers"]]
    return {each["name"]: [e for e in each.get("env", []) if "API_KEY" in e["name"]] for each in containers}


@pytest.mark.parametrize(("given", "key"), [({}, "VLLM_API_KEY"), ({"key": "k"}, "k")])
def test_the_key_is_a_variable_of_vllm_alone(given: dict[str, str], key: str) -> None:
    """In no argument, which `ps` and `kubectl describe` show, and not in the pod that has a network."""
    seen = observed(server({"prefetch": True, "apiKeySecretRef": {"name": "callers", **given}}))
    (job,) = (each for (kind, _), each in children(seen).items() if kind == "Job")
    assert environments(job) == {"prefetch": []}
    deployed = children(seen, CACHED)["Deployment", "chat"]
    source = {"secretKeyRef": {"name": "callers", "key": key}}
    assert environments(deployed) == {"vllm": [{"name": "VLLM_API_KEY", "valueFrom": source}]}
    (container,) = deployed["spec"]["template"]["spec"]["containers"]
    assert not [word for word in container["args"] if "callers" in word or "api-key" in word]


def test_probes_ask_what_needs_no_key() -> None:
    """vLLM asks for the key below /v1, and not at /health (vllm 0.32.0, AuthenticationMiddleware)."""
    seen = observed(server({"apiKeySecretRef": {"name": "callers"}}))
    (container,) = children(seen)["Deployment", "chat"]["spec"]["template"]["spec"]["containers"]
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert container[probe]["httpGet"] == {"path": "/health", "port": "http"}


@pytest.mark.parametrize("fills", [False, True])
def test_a_missing_secret_is_named_by_the_field_that_the_pod_has(*, fills: bool) -> None:
    """One Secret may hold the key and the token: pods that serve have the one, the prefetch has the other."""
    spec = {
        "prefetch": True,
        "apiKeySecretRef": {"name": "keys"},
        "model": {"name": "org/model", "tokenSecretRef": {"name": "keys"}},
    }
    waits = {"waiting": "CreateContainerConfigError", "waiting_message": 'secret "keys" not found'}
    of_job = {"record": None, "job": "fills", "job_uid": "uid-of-fills"} if fills else {}
    seen = observed(
        server(spec),
        job("fills"),
        deployment(ready_replicas=0, progressing="ReplicaSetUpdated"),
        pods=[pod(ready=False, started_at="", **of_job, **waits)],
    )
    aims = target("" if fills else RECORD, prefetch=Prefetch("fills", None if fills else CACHED))
    told = readiness(View(seen, aims))
    field, key = ("model.tokenSecretRef", "HF_TOKEN") if fills else ("apiKeySecretRef", "VLLM_API_KEY")
    assert told.reason == Reason.SECRET_NOT_FOUND
    line = f"`kubectl -n ns create secret generic keys --from-literal={key}=...`"
    assert told.message.startswith(f'secret "keys" not found. Make what spec.{field} names ({line})')


def test_without_the_field_there_is_no_policy() -> None:
    assert policies({}) == {}


def test_only_the_named_peers_reach_the_port() -> None:
    spec = policies(POLICY)["chat"]["spec"]
    labels = children(observed(server(POLICY)))["Deployment", "chat"]["spec"]["template"]["metadata"][
        "labels"
    ]
    assert spec["ingress"] == [{"from": PEERS, "ports": [{"port": 8000, "protocol": "TCP"}]}]
    assert spec["podSelector"]["matchLabels"].items() <= labels.items()
    assert spec["podSelector"]["matchLabels"]["app.kubernetes.io/component"] == "server"


@pytest.mark.parametrize("cached", [None, CACHED])
def test_pods_of_a_filled_cache_reach_nothing(cached: Cached | None) -> None:
    """And what fills it is reached by nobody, and reaches what other policies leave to it."""
    made = policies(FETCHED, cached=cached)
    assert {name: each["spec"]["policyTypes"] for name, each in made.items()} == {
        "chat": CLOSED,
        "chat-prefetch": OPEN,
    }
    assert not [each for each in made.values() if "egress" in each["spec"]]
    assert "ingress" not in made["chat-prefetch"]["spec"]


def test_the_policy_of_the_prefetch_finds_its_pods() -> None:
    made = children(observed(server(FETCHED)))
    (job,) = (each for (kind, _), each in made.items() if kind == "Job")
    found = made["NetworkPolicy", "chat-prefetch"]["spec"]["podSelector"]["matchLabels"]
    assert found.items() <= job["spec"]["template"]["metadata"]["labels"].items()
    assert (
        not found.items()
        <= {"vllm-operator.dev/server": "chat", "app.kubernetes.io/component": "server"}.items()
    )


@pytest.mark.parametrize(
    ("model", "types"),
    [
        ({"name": "org/model"}, OPEN),
        ({"name": "org/model", "offline": True}, CLOSED),
        ({"name": "/data/model"}, CLOSED),
    ],
)
def test_pods_that_download_are_let_out(model: dict[str, Any], types: list[str]) -> None:
    made = policies({**POLICY, "model": model})
    assert [(name, each["spec"]["policyTypes"]) for name, each in made.items()] == [("chat", types)]


def test_pods_of_the_revision_before_are_let_out_until_they_are_gone() -> None:
    """They may be started again at any time, and then ask the hub."""
    alone = children(observed(server(POLICY)))
    (downloads,) = (record_of(each) for (kind, _), each in alone.items() if kind == "ControllerRevision")
    filled = record(RECORD, 2, cached=CACHED)
    assert (downloads.downloads, filled.downloads) == (True, False)
    for cached in (None, CACHED):
        assert policies(FETCHED, downloads, cached=cached)["chat"]["spec"]["policyTypes"] == OPEN
    assert policies(FETCHED, filled)["chat"]["spec"]["policyTypes"] == CLOSED


@pytest.mark.parametrize("model", [{"name": "org/model", "offline": True}, {"name": "/data/model"}])
def test_a_record_tells_that_its_pods_download_nothing(model: dict[str, Any]) -> None:
    made = children(observed(server({"model": model})))
    (kept,) = (record_of(each) for (kind, _), each in made.items() if kind == "ControllerRevision")
    assert not kept.downloads


def test_policies_are_there_before_pods() -> None:
    """`controller/children.py` makes what makes pods last; in its list, too, they come first."""
    for cached in (None, CACHED):
        order = [kind for kind, _ in children(observed(server(FETCHED)), cached)]
        first = min(order.index(kind) for kind in ("Deployment", "Job") if kind in order)
        assert max(n for n, kind in enumerate(order) if kind == "NetworkPolicy") < first


def test_an_edit_of_the_peers_rolls_nothing() -> None:
    other: Manifest = {"networkPolicy": {"from": [{"podSelector": {}}]}}
    names = {
        name
        for spec in ({}, POLICY, other)
        for kind, name in children(observed(server(spec)))
        if kind == "ControllerRevision"
    }
    assert len(names) == 1
    keys = {"apiKeySecretRef": {"name": "callers"}}
    assert names.isdisjoint(name for _, name in children(observed(server(keys))))


@pytest.mark.parametrize("seen", [deployment(), deployment(progressing="ReplicaSetUpdated"), None])
def test_policies_go_with_the_field_at_once(seen: Child | None) -> None:
    """What they forbid no pod needs, of whatever revision."""
    ours, others = child("NetworkPolicy", "chat"), child("NetworkPolicy", "other", owner="somebody")
    known = [each for each in (ours, others, seen) if each is not None]
    found = superfluous(observed(server(), *known), (), target())
    assert found == (ours,)
    assert superfluous(observed(server(POLICY), *known), [("NetworkPolicy", "chat")], target()) == ()


@pytest.mark.parametrize("existing", [False, True])
def test_a_quantization_that_is_isolated(*, existing: bool) -> None:
    """Nobody reaches its Jobs, and what calibrates reaches nobody."""
    spec = {"isolated": True, **({"dataset": None, "existing": {"path": "/data/inc/m"}} if existing else {})}
    stages = [quantized.observed(spec)]
    if not existing:
        stages.append(quantized.observed(spec, quantized.measuring(spec)[0]))
    found = {}
    for stage in stages:
        made = calibration.desired(stage, DEFAULT).manifests
        (policy,), (each,) = ([m for m in made if m["kind"] == kind] for kind in ("NetworkPolicy", "Job"))
        assert made.index(policy) < made.index(each)
        labels = each["spec"]["template"]["metadata"]["labels"]
        assert policy["spec"]["podSelector"]["matchLabels"].items() <= labels.items()
        assert policy["spec"].keys() == {"podSelector", "policyTypes"}, "nobody is let in or out"
        found[policy["metadata"]["name"]] = policy["spec"]["policyTypes"]
    prefetch = {} if existing else {"llama-fp8q-prefetch": OPEN}
    assert found == {**prefetch, "llama-fp8q-calibration": CLOSED}


def test_the_policy_of_a_quantization_goes_with_its_job_or_its_field() -> None:
    ours = child("NetworkPolicy", "llama-fp8q-prefetch")
    seen = quantized.observed({"isolated": True}, ours)
    refs = [("NetworkPolicy", "llama-fp8q-prefetch")]
    aim = quantized.aim(seen)
    assert calibration.superfluous(seen, refs, aim, quantized.NOW) == ()
    assert calibration.superfluous(seen, (), aim, quantized.NOW) == (ours,)
    plain = [quantized.aim(quantized.observed(spec)).job for spec in ({}, {"isolated": True})]
    assert plain[0] == plain[1], "it decides neither Job"
    assert quantized.measuring({})[1] == quantized.measuring({"isolated": True})[1]

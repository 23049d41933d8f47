"""The children of a server, by what was asked for and what was seen."""

import itertools
from typing import Any

import pytest

from tests.unit.things import (
    DEFAULT,
    DEFAULT_IMAGE,
    claim,
    deployment,
    full,
    kinds,
    observed,
    pod,
    record,
    record_of,
    server,
)
from tests.unit.walk import leaf_changes
from vllm_operator.api.observed import Cached, Observed, RecordFacts
from vllm_operator.api.parts import Resources
from vllm_operator.api.reasons import StalledError
from vllm_operator.desired import devices, engine
from vllm_operator.desired.defaults import Image
from vllm_operator.desired.server import basis, desired

Manifest = dict[str, Any]


def children(spec: dict[str, Any] | None = None, **seen: Any) -> dict[str, Manifest]:
    return kinds(desired(observed(server(spec), *seen.pop("children", ()), **seen), DEFAULT).manifests)


def test_the_deployment_comes_last() -> None:
    """Whatever it needs is there before it."""
    made = desired(observed(), DEFAULT).manifests
    assert [m["kind"] for m in made] == [
        "ServiceAccount",
        "PersistentVolumeClaim",
        "ControllerRevision",
        "Service",
        "Deployment",
    ]


@pytest.mark.parametrize("kind", ["ServiceAccount", "ControllerRevision", "Service", "Deployment"])
def test_children_belong_to_the_server(kind: str) -> None:
    (owner,) = children()[kind]["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["name"], owner["uid"], owner["controller"]) == (
        "VLLMServer",
        "chat",
        "uid-1",
        True,
    )
    assert "blockOwnerDeletion" not in owner


def test_the_pods_are_found_by_service_and_deployment() -> None:
    made = children()
    labels = made["Deployment"]["spec"]["template"]["metadata"]["labels"]
    assert made["Service"]["spec"]["selector"].items() <= labels.items()
    assert made["Deployment"]["spec"]["selector"]["matchLabels"].items() <= labels.items()
    assert labels["vllm-operator.dev/record"] == desired(observed(), DEFAULT).target.record


def test_a_claim_that_is_retained_has_no_owner_and_no_label_that_argo_tracks_by() -> None:
    for cache in ({"size": "10Gi"}, {"size": "10Gi", "retention": "Retain"}):
        metadata = children({"cache": cache})["PersistentVolumeClaim"]["metadata"]
        assert "ownerReferences" not in metadata
        assert "app.kubernetes.io/instance" not in metadata["labels"]
    deleted = children({"cache": {"size": "10Gi", "retention": "Delete"}})
    assert deleted["PersistentVolumeClaim"]["metadata"]["ownerReferences"][0]["uid"] == "uid-1"
    instances = {made["metadata"]["labels"]["app.kubernetes.io/instance"] for made in deleted.values()}
    assert instances == {"chat"}


def test_a_given_claim_is_not_made() -> None:
    made = children({"cache": {"claimName": "weights"}})
    assert "PersistentVolumeClaim" not in made
    pod = made["Deployment"]["spec"]["template"]["spec"]
    assert {"name": "cache", "persistentVolumeClaim": {"claimName": "weights"}} in pod["volumes"]
    assert "fsGroup" not in pod["securityContext"]


@pytest.mark.parametrize(
    ("asked", "has", "wanted"),
    [("10Gi", "20Gi", "20Gi"), ("20Gi", "10Gi", "20Gi"), ("10Gi", "10240Mi", "10Gi"), ("10Gi", None, "10Gi")],
)
def test_a_claim_never_shrinks(asked: str, has: str | None, wanted: str) -> None:
    made = children({"cache": {"size": asked}}, claim=claim(size=has) if has else None)
    assert made["PersistentVolumeClaim"]["spec"]["resources"]["requests"]["storage"] == wanted


def surge(made: dict[str, Manifest]) -> tuple[int, int]:
    update = made["Deployment"]["spec"]["strategy"]["rollingUpdate"]
    return update["maxSurge"], update["maxUnavailable"]


@pytest.mark.parametrize(
    ("modes", "given", "wanted"),
    [
        (None, None, (0, 1)),
        (["ReadWriteOnce"], None, (0, 1)),
        (["ReadWriteMany"], None, (1, 0)),
        (["ReadWriteOnce", "ReadWriteMany"], None, (1, 0)),
        (None, (), (1, 0)),
        (None, ("ReadWriteOnce",), (0, 1)),
        (None, ("ReadWriteMany",), (1, 0)),
    ],
)
def test_a_pod_surges_only_where_both_can_mount_the_cache(
    modes: list[str] | None, given: tuple[str, ...] | None, wanted: tuple[int, int]
) -> None:
    if given is None:
        assert (
            surge(children({"cache": {"size": "1Gi"} | ({"accessModes": modes} if modes else {})})) == wanted
        )
    else:
        found = claim(name="weights", access_modes=given) if given else None
        assert surge(children({"cache": {"claimName": "weights"}}, claim=found)) == wanted


def replicas(spec: dict[str, Any], **facts: Any) -> Any:
    made = children(spec, children=[deployment(**facts)])
    return made["Deployment"]["spec"].get("replicas", "not ours")


def test_replicas_of_another_manager_are_left_alone() -> None:
    assert replicas({"replicas": 2}) == 2
    assert replicas({"replicas": 2}, wanted_replicas=5) == 2
    assert replicas({"replicas": 2}, wanted_replicas=5, replicas_manager="hpa") == "not ours"
    assert replicas({"replicas": 5}, wanted_replicas=5, replicas_manager="hpa") == 5
    assert replicas({"replicas": 0}) == 0


def limits(**words: Any) -> Resources:
    return Resources.model_validate(words)


@pytest.mark.parametrize(
    ("resources", "whole"),
    [
        ({}, False),
        ({"limits": {"cpu": 4}}, False),
        ({"limits": {"memory": "1Gi"}}, False),
        ({"limits": {"cpu": 4, "memory": "1Gi"}}, True),
        ({"limits": {"cpu": "4000m", "memory": "1Gi"}}, True),
        ({"limits": {"cpu": "3500m", "memory": "1Gi"}}, False),
        ({"limits": {"cpu": 4, "memory": "1Gi"}, "requests": {"cpu": 4, "memory": "1024Mi"}}, True),
        ({"limits": {"cpu": 4, "memory": "1Gi"}, "requests": {"cpu": 2}}, False),
        ({"limits": {"cpu": 4, "memory": "1Gi"}, "requests": {"memory": "1G"}}, False),
        ({"requests": {"cpu": 4, "memory": "1Gi"}}, False),
    ],
)
def test_whole_cpus(resources: dict[str, Any], whole: bool) -> None:
    assert devices.whole_cpus(limits(**resources)) is whole


def variables(spec: dict[str, Any]) -> dict[str, Any]:
    return {
        entry["name"]: entry.get("value")
        for entry in engine.environment(server(spec).spec, DEFAULT_IMAGE, None)
    }


@pytest.mark.parametrize(
    ("cpu", "limit", "bind", "threads"),
    [
        ({}, {"cpu": 4, "memory": "1Gi"}, "auto", None),
        ({}, {"cpu": "2500m", "memory": "1Gi"}, "nobind", "2"),
        ({}, {"cpu": "500m"}, "nobind", "1"),
        ({}, {}, "nobind", None),
        ({"threadsBind": "nobind"}, {"cpu": 4, "memory": "1Gi"}, "nobind", "4"),
        ({"threadsBind": "auto"}, {"cpu": "2500m"}, "auto", None),
        ({"threadsBind": "0-3|4-7"}, {"cpu": 8}, "0-3|4-7", None),
    ],
)
def test_threads(cpu: dict[str, Any], limit: dict[str, Any], bind: str, threads: str | None) -> None:
    found = variables({"cpu": cpu, "resources": {"limits": limit}})
    assert found["VLLM_CPU_OMP_THREADS_BIND"] == bind
    assert found.get("OMP_NUM_THREADS") == threads


def test_reserved_cores() -> None:
    assert variables({"cpu": {"reservedCores": 0}})["VLLM_CPU_NUM_OF_RESERVED_CPU"] == "0"
    assert "VLLM_CPU_NUM_OF_RESERVED_CPU" not in variables({})


def test_nothing_is_expanded() -> None:
    made = children({"extraArgs": ["$(HOME)", "a$"], "extraEnv": [{"name": "A", "value": "$(B)$$"}]})
    container = made["Deployment"]["spec"]["template"]["spec"]["containers"][0]
    assert container["args"][-2:] == ["$$(HOME)", "a$$"]
    assert {"name": "A", "value": "$$(B)$$$$"} in container["env"]


def test_the_token_is_named_and_never_read() -> None:
    entries = engine.environment(
        server({"model": {"name": "a", "tokenSecretRef": {"name": "s"}}}).spec, DEFAULT_IMAGE, None
    )
    assert {"name": "HF_TOKEN", "valueFrom": {"secretKeyRef": {"name": "s", "key": "HF_TOKEN"}}} in entries


def test_the_startup_budget_is_rounded_up() -> None:
    made = children({"warmup": {"timeoutSeconds": 61}})
    probe = made["Deployment"]["spec"]["template"]["spec"]["containers"][0]["startupProbe"]
    assert probe["failureThreshold"] * probe["periodSeconds"] == 70
    assert made["Deployment"]["spec"]["progressDeadlineSeconds"] == 61 + 1800


def test_pods_pass_pod_security_restricted() -> None:
    spec = kinds(desired(observed(full()), DEFAULT).manifests)["Deployment"]["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"]["allowPrivilegeEscalation"] is False
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert spec["automountServiceAccountToken"] is False
    assert not {"hostNetwork", "hostPID", "hostIPC", "nodeName", "initContainers"} & set(spec)
    assert container["command"] == ["vllm", "serve"]


def test_what_the_engine_does_not_know_stalls() -> None:
    with pytest.raises(StalledError, match=r"spec.extraArgs\[1\]: --nope is not a flag"):
        desired(observed(server({"extraArgs": ["a", "--nope"]})), DEFAULT)
    with pytest.raises(StalledError, match=r"no profile for vllm 0\.99"):
        desired(observed(server({"image": "a", "engine": {"family": "vllm", "version": "0.99"}})), DEFAULT)


def test_an_engine_that_the_default_image_does_not_hold_is_no_engine_of_it() -> None:
    words = r"spec.engine: .*default:v1 holds vllm 0.32, not vllm 0.31; name an image"
    with pytest.raises(StalledError, match=words):
        children({"engine": {"family": "vllm", "version": "0.31"}})
    assert children({"engine": {"family": "vllm", "version": "0.32.9"}})


def situations() -> list[Observed]:
    """Many ways in which one server may be seen, all at the same generation."""
    sure = server({"replicas": 2})
    first = record_of(kinds(desired(observed(sure), DEFAULT).manifests)["ControllerRevision"])
    given = server({"cache": {"claimName": "weights"}})
    claims = [
        None,
        claim(),
        claim(size="20Gi"),
        claim(phase="Pending"),
        claim(access_modes=("ReadWriteMany",)),
    ]
    deployments: list[list[Any]] = [
        [],
        [deployment(wanted_replicas=2)],
        [deployment(wanted_replicas=5)],
        [deployment(wanted_replicas=5, replicas_manager="hpa")],
        [deployment(wanted_replicas=2, replicas_manager="hpa", ready_replicas=0)],
    ]
    records = [
        [],
        [first],
        [record("other", 4, Image("pinned:1", "vllm 0.32"))],
        [first, record("other", 4, None)],
    ]
    return [
        observed(of, *have, *kept, claim=found, pods=pods)
        for of in (sure, given)
        for have, kept, found, pods in itertools.product(deployments, records, claims, [[], [pod()]])
    ]


def test_what_is_desired_differs_only_where_its_basis_does() -> None:
    """While the basis is the same, `desired` is not asked again: it must look at nothing else."""
    seen: dict[Any, Any] = {}
    for situation in situations():
        of = (situation.server.spec.cache.claim_name, basis(situation))
        made = desired(situation, DEFAULT)
        assert seen.setdefault(of, made) == made
    assert len(seen) > 20
    assert len({repr(made) for made in seen.values()}) > 10


def test_an_edit_changes_the_basis() -> None:
    assert basis(observed(server(generation=2))) != basis(observed(server(generation=1)))


def test_once_the_cache_is_filled_what_the_prefetch_does_changes_no_basis() -> None:
    """Else every step of a Job that is on its way out would be a reason to ask again what should be."""
    fetched = record("first", 1, cached=Cached("0" * 40, "/data/hub"))
    of = server({"prefetch": True})

    def judged(kept: RecordFacts, **facts: Any) -> Any:
        return basis(observed(of, kept, claim=claim(**facts)))

    assert judged(fetched) == judged(fetched, phase="Pending")
    assert judged(fetched) != judged(fetched, size="20Gi")
    assert judged(record("first", 1)) != judged(record("first", 1), phase="Pending")


def test_every_leaf_has_a_change() -> None:
    changes = leaf_changes()
    assert len(changes) > 60
    assert {"spec.device", "spec.gaudi.sysNice", "spec.warmup.buckets.promptQuery.max"} <= {
        leaf.field for leaf in changes
    }
    for leaf in changes:
        assert full(leaf.before).spec != full(leaf.after).spec, leaf.field

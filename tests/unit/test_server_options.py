"""Children that a server has only if asked to, and what its pods take over from optional fields."""

from typing import Any

import pytest

from tests.unit.things import DEFAULT, RECORD, child, deployment, kinds, observed, record, server, target
from vllm_operator.api.seen import Child
from vllm_operator.desired.server import desired, superfluous

Manifest = dict[str, Any]
HOST = {"maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "ScheduleAnyway"}


def children(spec: dict[str, Any] | None = None, *seen: Child) -> dict[str, Manifest]:
    return kinds(desired(observed(server(spec), *seen), DEFAULT).manifests)


def pod(spec: dict[str, Any]) -> Manifest:
    found: Manifest = children(spec)["Deployment"]["spec"]["template"]["spec"]
    return found


@pytest.mark.parametrize(("replicas", "budgets"), [(0, 0), (1, 0), (2, 1), (5, 1)])
def test_a_disruption_budget_is_for_several_replicas(replicas: int, budgets: int) -> None:
    assert (
        len([kind for kind in children({"replicas": replicas}) if kind == "PodDisruptionBudget"]) == budgets
    )


def test_the_budget_lets_one_pod_go() -> None:
    made = children({"replicas": 2})
    budget, labels = made["PodDisruptionBudget"], made["Deployment"]["spec"]["template"]["metadata"]["labels"]
    assert budget["spec"]["maxUnavailable"] == 1
    assert budget["spec"]["unhealthyPodEvictionPolicy"] == "AlwaysAllow"
    assert budget["spec"]["selector"]["matchLabels"].items() <= labels.items()
    assert budget["metadata"]["ownerReferences"][0]["uid"] == "uid-1"
    assert list(made)[-1] == "Deployment"


@pytest.mark.parametrize(
    ("replicas", "by_others", "budget"), [(1, 3, True), (3, 1, False), (3, 0, False), (1, 2, True)]
)
def test_replicas_that_another_manager_holds_count(replicas: int, by_others: int, budget: bool) -> None:
    held = deployment(wanted_replicas=by_others, replicas_manager="hpa")
    assert ("PodDisruptionBudget" in children({"replicas": replicas}, held)) is budget
    ours = deployment(wanted_replicas=by_others)
    assert ("PodDisruptionBudget" in children({"replicas": replicas}, ours)) is (replicas > 1)


def test_an_account_that_is_given_is_not_made() -> None:
    assert children()["Deployment"]["spec"]["template"]["spec"]["serviceAccountName"] == "chat-vllm"
    given = {"serviceAccountName": "puller"}
    assert "ServiceAccount" not in children(given)
    assert pod(given)["serviceAccountName"] == "puller"
    assert pod(given)["automountServiceAccountToken"] is False


@pytest.mark.parametrize(
    ("cache", "group"),
    [
        ({"size": "10Gi"}, 1000),
        ({"size": "10Gi", "fsGroup": 7}, 7),
        ({"claimName": "weights"}, None),
        ({"claimName": "weights", "fsGroup": 7}, 7),
    ],
)
def test_the_group_of_the_cache(cache: dict[str, Any], group: int | None) -> None:
    context = pod({"cache": cache})["securityContext"]
    assert context.get("fsGroup") == group
    assert context.get("fsGroupChangePolicy") == (None if group is None else "OnRootMismatch")


def test_how_the_service_is_reached() -> None:
    plain = children()["Service"]
    assert plain["spec"]["type"] == "ClusterIP"
    assert "annotations" not in plain["metadata"]
    note = {"service.beta.kubernetes.io/x-internal": "true"}
    balanced = children({"service": {"type": "LoadBalancer", "annotations": note}})["Service"]
    assert (balanced["spec"]["type"], balanced["metadata"]["annotations"]) == ("LoadBalancer", note)


def test_a_chat_template_is_mounted_where_it_is_read() -> None:
    source = {"name": "templates", "key": "chat.jinja"}
    model = {"name": "org/model", "chatTemplate": {"configMapKeyRef": source}}
    spec = pod({"model": model})
    (container,) = spec["containers"]
    (mount,) = (each for each in container["volumeMounts"] if each["name"] == "chat-template")
    (volume,) = (each for each in spec["volumes"] if each["name"] == "chat-template")
    (item,) = volume["configMap"]["items"]
    assert (volume["configMap"]["name"], item["key"]) == ("templates", "chat.jinja")
    flag = container["args"].index("--chat-template")
    assert container["args"][flag + 1] == f"{mount['mountPath']}/{item['path']}"
    assert mount["readOnly"] is True


def test_a_spread_without_a_selector_spreads_the_servers_own_pods() -> None:
    own = {"matchLabels": {"vllm-operator.dev/server": "chat", "app.kubernetes.io/component": "server"}}
    assert pod({"topologySpreadConstraints": [HOST]})["topologySpreadConstraints"] == [
        HOST | {"labelSelector": own}
    ]
    given = HOST | {"labelSelector": {"matchLabels": {"team": "a"}}}
    assert pod({"topologySpreadConstraints": [given]})["topologySpreadConstraints"] == [given]


ACCOUNT, BUDGET = child("ServiceAccount", "chat-vllm"), child("PodDisruptionBudget", "chat")
REFS = {("ServiceAccount", "chat-vllm"), ("PodDisruptionBudget", "chat"), ("Service", "chat")}


def gone(*seen: Child, wanted: set[tuple[str, str]] | None = None) -> list[str]:
    found = superfluous(observed(server(), *seen), wanted or set(), target())
    return [each.kind for each in found]


def test_what_is_wanted_stays() -> None:
    assert gone(ACCOUNT, BUDGET, deployment(), wanted=REFS) == []


def test_what_is_no_longer_wanted_goes_after_the_rollout() -> None:
    """The pods of the revision before still run under the account."""
    assert sorted(gone(ACCOUNT, BUDGET, deployment())) == ["PodDisruptionBudget", "ServiceAccount"]
    assert gone(ACCOUNT, BUDGET, deployment(), wanted=REFS - {("PodDisruptionBudget", "chat")}) == [
        "PodDisruptionBudget"
    ]
    for rolling in ({"progressing": "ReplicaSetUpdated"}, {"record": "before"}, {"generation": 2}):
        assert gone(ACCOUNT, BUDGET, deployment(**rolling)) == []
    assert gone(ACCOUNT, BUDGET) == []


def test_what_is_not_ours_or_goes_already_is_left_alone() -> None:
    for facts in ({"owner": None}, {"owner": "another"}, {"deleting": True}):
        others = (
            child("ServiceAccount", "chat-vllm", **facts),
            child("PodDisruptionBudget", "chat", **facts),
        )
        assert gone(*others, deployment()) == []


def test_kinds_that_a_server_always_has_are_never_pruned() -> None:
    """Least of all a cache."""
    others = [child(kind, "old") for kind in ("Service", "PersistentVolumeClaim", "Deployment")]
    assert gone(*others, deployment()) == []


def test_records_go_with_the_rest() -> None:
    found = superfluous(observed(server(), record("old", 1), record(RECORD, 2), deployment()), REFS, target())
    assert [each.name for each in found] == ["chat-old"]
    # The way back needs the account of the revision before as much as its record.
    rolling = deployment(progressing="ReplicaSetUpdated")
    assert (
        superfluous(observed(server(), record("old", 1), record(RECORD, 2), ACCOUNT, rolling), (), target())
        == ()
    )

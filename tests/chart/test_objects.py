"""What the chart renders: least power, in both modes, and pods that a strict cluster takes."""

import json
from pathlib import Path

import pytest
import yaml

from tests.harness.api import Object
from tests.harness.binaries import REPOSITORY
from tests.harness.helm import RELEASE, Values, only, render, template
from vllm_operator.config import Settings
from vllm_operator.desired import names
from vllm_operator.rbac import edit_rules, lease_rules, policy_rules, view_rules

EVERYTHING: Object = yaml.safe_load((Path(__file__).parent / "everything.yaml").read_text())
NAMESPACED = {"watchNamespaces": ["team-a", "team-b"]}
SETS: dict[str, Values] = {"default": {}, "namespaced": NAMESPACED, "everything": EVERYTHING}


def roles(objects: list[Object]) -> dict[tuple[str, str], list[Object]]:
    """The rules of every role, by namespace (empty: the cluster) and name."""
    return {
        (each["metadata"].get("namespace", ""), each["metadata"]["name"]): each["rules"]
        for each in objects
        if "rules" in each
    }


AGGREGATED = {("", "vllm-operator-view"): view_rules(), ("", "vllm-operator-edit"): edit_rules()}
LEASE = {(RELEASE, "vllm-operator-lease"): lease_rules()}


def test_roles_of_all_namespaces() -> None:
    assert roles(render({})) == {("", "vllm-operator"): policy_rules(), **LEASE, **AGGREGATED}


def test_roles_of_single_namespaces_and_none_of_the_cluster() -> None:
    objects = render(NAMESPACED | {"aggregateRoles": False})
    watched = {(name, "vllm-operator"): policy_rules() for name in ("team-a", "team-b")}
    assert roles(objects) == {**watched, **LEASE}
    assert [each["kind"] for each in objects if each["kind"].startswith("Cluster")] == []


def test_a_release_may_watch_its_own_namespace() -> None:
    found = roles(render({"watchNamespaces": [RELEASE]}))
    assert found[RELEASE, "vllm-operator"] == policy_rules()
    assert found[RELEASE, "vllm-operator-lease"] == lease_rules()


@pytest.mark.parametrize("mode", [{}, {"watchNamespaces": ["team-a"]}])
def test_who_may_not_read_logs_has_no_right_to(mode: Values) -> None:
    (found,) = (
        rules for (_, name), rules in roles(render({**mode, "readLogs": False})).items() if name == RELEASE
    )
    assert found == [rule for rule in policy_rules() if rule["resources"] != ["pods/log"]]
    assert len(found) == len(policy_rules()) - 1


@pytest.mark.parametrize("name", SETS)
def test_no_role_has_a_wildcard_or_reaches_secrets(name: str) -> None:
    found = roles(render(SETS[name]))
    assert found
    for rules in found.values():
        for rule in rules:
            words = {*rule["apiGroups"], *rule["resources"], *rule["verbs"]}
            assert not {word for word in words if "*" in word or word.startswith("secrets")}
            assert not words & {"escalate", "bind", "impersonate", "rbac.authorization.k8s.io"}


@pytest.mark.parametrize("name", SETS)
def test_every_role_is_bound_to_the_operators_account_but_for_those_of_people(name: str) -> None:
    objects = render(SETS[name])
    account = only(objects, "Deployment")["spec"]["template"]["spec"]["serviceAccountName"]
    bound = set()
    for each in objects:
        if "roleRef" in each:
            bound.add((each["metadata"].get("namespace", ""), each["roleRef"]["name"]))
            assert each["subjects"] == [{"kind": "ServiceAccount", "name": account, "namespace": RELEASE}]
    assert bound == set(roles(objects)) - set(AGGREGATED)


def test_kubernetes_own_roles_take_in_those_of_people() -> None:
    prefix = "rbac.authorization.k8s.io/aggregate-to-"
    into = {
        each["metadata"]["name"]: {
            key.removeprefix(prefix) for key in each["metadata"]["labels"] if key.startswith(prefix)
        }
        for each in render({})
        if each["kind"] == "ClusterRole"
    }
    assert into == {
        "vllm-operator": set(),
        "vllm-operator-view": {"view", "edit", "admin"},
        "vllm-operator-edit": {"edit", "admin"},
    }


def pods(objects: list[Object]) -> list[Object]:
    found = [only(objects, "Deployment")["spec"]["template"], only(objects, "Pod")]
    assert len([each for each in objects if each["kind"] in ("Deployment", "Pod", "Job")]) == len(found)
    return found


@pytest.mark.parametrize("name", SETS)
def test_pods_are_restricted(name: str) -> None:
    for pod in pods(render(SETS[name])):
        spec = pod["spec"]
        assert not {"hostNetwork", "hostPID", "hostIPC", "volumes", "initContainers"} & set(spec)
        ids = {"runAsUser": 65532, "runAsGroup": 65532, "fsGroup": 65532}
        own = {} if SETS[name].get("platformAssignsIds") else ids
        common = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
        assert spec["securityContext"] == common | own
        (container,) = spec["containers"]
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert {"limits", "requests"} <= set(container["resources"])


def test_only_the_operators_pod_has_a_token() -> None:
    objects = render({})
    operator, test = pods(objects)
    assert operator["spec"]["automountServiceAccountToken"] is True
    assert test["spec"]["automountServiceAccountToken"] is False
    assert only(objects, "ServiceAccount")["automountServiceAccountToken"] is False


@pytest.mark.parametrize("name", SETS)
def test_selectors_find_the_operators_pods_and_no_others(name: str) -> None:
    objects = render(SETS[name])
    operator, test = (pod["metadata"]["labels"].items() for pod in pods(objects))
    selectors = {
        "Deployment": lambda spec: spec["selector"]["matchLabels"],
        "Service": lambda spec: spec["selector"],
        "PodDisruptionBudget": lambda spec: spec["selector"]["matchLabels"],
        "NetworkPolicy": lambda spec: spec["podSelector"]["matchLabels"],
    }
    for each in objects:
        if each["kind"] in selectors:
            chosen = selectors[each["kind"]](each["spec"]).items()
            assert chosen <= operator, each["kind"]
            assert not chosen <= test, each["kind"]
    service = only(objects, "Service")["metadata"]["labels"].items()
    for each in objects:
        if each["kind"] == "ServiceMonitor":
            assert each["spec"]["selector"]["matchLabels"].items() <= service


@pytest.mark.parametrize("name", SETS)
def test_no_object_looks_like_a_child_of_a_server(name: str) -> None:
    """The operator watches what bears `managed-by: vllm-operator`."""
    for each in render(SETS[name]):
        assert "app.kubernetes.io/managed-by" not in each["metadata"].get("labels", {})


def policy(values: Values) -> Object:
    spec: Object = only(render({"networkPolicy.enabled": True, **values}), "NetworkPolicy")["spec"]
    return spec


def egress(values: Values) -> list[Object]:
    """Where the operator's pods may go, but for DNS and the API server."""
    own = [[53, 53], [443, 6443]]
    return [rule for rule in policy(values)["egress"] if [each["port"] for each in rule["ports"]] not in own]


@pytest.mark.parametrize("values", [{}, {"verify.proxy": "http://proxy"}, {"verify.enabled": False}])
def test_the_network_policy_opens_no_port_by_its_name(values: Values) -> None:
    """Cilium drops what goes to a name that other pods use for another number (cilium/cilium#30003), and
    OVN-Kubernetes lets more through (ovn-kubernetes/ovn-kubernetes#2117)."""
    for rule in (*policy(values)["ingress"], *policy(values)["egress"]):
        assert rule["ports"]
        for each in rule["ports"]:
            assert isinstance(each["port"], int)
            assert each["protocol"] in ("TCP", "UDP")


def test_the_network_policy_lets_in_to_the_port_that_the_operator_listens_on() -> None:
    objects = render({"networkPolicy.enabled": True})
    (container,) = only(objects, "Deployment")["spec"]["template"]["spec"]["containers"]
    port = Settings().health_port
    assert container["ports"] == [{"name": "http", "containerPort": port}]
    (rule,) = only(objects, "NetworkPolicy")["spec"]["ingress"]
    assert rule["ports"] == [{"port": port, "protocol": "TCP"}]


@pytest.mark.parametrize(
    ("proxy", "port"),
    [
        ("http://proxy:3128", 3128),
        ("http://user:secret@proxy.example:8080/", 8080),
        ("http://[fd00::80]:3128", 3128),
        ("http://proxy", 80),
        ("http://[fd00::81]/", 80),
        ("https://proxy", 443),
    ],
)
def test_the_way_to_the_proxy_is_open(proxy: str, port: int) -> None:
    assert egress({"verify.proxy": proxy}) == [{"ports": [{"port": port, "protocol": "TCP"}]}]


def test_the_hardened_sample_lets_the_operator_in() -> None:
    """Else Verified would end as Unreachable."""
    sample = yaml.safe_load((REPOSITORY / "manifests" / "samples" / "hardened.yaml").read_text())
    labels = only(render({}), "Deployment")["spec"]["template"]["metadata"]["labels"].items()
    home = {"kubernetes.io/metadata.name": RELEASE}
    found = [
        peer
        for peer in sample["spec"]["networkPolicy"]["from"]
        if peer.get("namespaceSelector", {}).get("matchLabels") == home
        and peer["podSelector"]["matchLabels"].items() <= labels
    ]
    assert len(found) == 1


def test_the_way_to_servers_is_open_where_they_are_asked_without_a_proxy() -> None:
    (rule,) = egress({})
    labels = rule["to"][0]["podSelector"]["matchLabels"]
    assert labels["app.kubernetes.io/component"] == "server"
    assert rule["ports"] == [{"port": names.PORT, "protocol": "TCP"}]
    assert egress({"verify.enabled": False, "verify.proxy": "http://proxy:3128"}) == []


def test_another_release_name_gets_names_of_its_own() -> None:
    objects = render({}, release="models")
    assert only(objects, "Deployment")["metadata"]["name"] == "models-vllm-operator"


# What YAML may read as a boolean, a number or nothing. In place of the words after the colon.
ODD = {"true": "myrelease", "123": "myhome", "456": "mywatched", "0x1f": "myclass", "12": "myrepository"}
ODD |= {"1e3": "myaccount", "null": "mysecret", "on": "mylabel", "2001-01-01": "mynode"}


def of_words(word: dict[str, str]) -> list[Object]:
    """What the chart makes with these words wherever a user may choose one."""
    values: Values = {
        "watchNamespaces": [word["456"]],
        "priorityClassName": word["0x1f"],
        "image": {"repository": word["12"], "tag": "30"},
        "serviceAccount.name": word["1e3"],
        "imagePullSecrets": [{"name": word["null"]}],
        "extraLabels": {"a": word["on"]},
        "podAnnotations": {"a": word["null"]},
        "nodeSelector": {"a": word["2001-01-01"]},
        "grafanaDashboards.enabled": True,
        **{f"{name}.enabled": True for name in ("serviceMonitor", "prometheusRule", "networkPolicy")},
    }
    return render(values, "--namespace", word["123"], release=word["true"])


def test_whatever_word_somebody_chooses_is_a_text() -> None:
    plain = json.dumps(of_words(ODD))
    for word, stand_in in ODD.items():
        plain = plain.replace(stand_in, word)
    assert json.dumps(of_words({word: word for word in ODD})) == plain


@pytest.mark.parametrize("release", ["1", "1e3", "my.release"])
def test_a_release_whose_name_makes_no_service_is_refused(release: str) -> None:
    done = template({}, release=release)
    assert done.returncode != 0
    assert f'The release\'s name "{release}" would make a Service "{release}-vllm-operator"' in done.stderr


def test_a_spread_of_ones_own_is_taken_as_it_is() -> None:
    common = {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"}
    given = common | {"labelSelector": {"matchLabels": {"a": "b"}}}
    template = only(render({"topologySpreadConstraints": [common, given]}), "Deployment")["spec"]["template"]
    filled, taken = template["spec"]["topologySpreadConstraints"]
    assert taken == given
    labels = filled.pop("labelSelector")["matchLabels"]
    assert filled == common
    assert labels.items() <= template["metadata"]["labels"].items()
    assert labels["app.kubernetes.io/component"] == "operator"


def test_extra_labels_are_everywhere() -> None:
    for each in render({"extraLabels": {"team": "platform"}}):
        assert each["metadata"]["labels"]["team"] == "platform"
    pod = only(render({"extraLabels": {"team": "platform"}}), "Deployment")["spec"]["template"]
    assert pod["metadata"]["labels"]["team"] == "platform"


def test_the_pod_of_helm_test_runs_the_charts_program() -> None:
    pod = only(render({}), "Pod")
    _, _, program, url = pod["spec"]["containers"][0]["command"]
    source = REPOSITORY / "charts" / "vllm-operator" / "files" / "test.py"
    assert program.strip() == source.read_text().strip()
    assert url == "http://vllm-operator.vllm-operator.svc:8080"
    assert pod["metadata"]["annotations"]["helm.sh/hook"] == "test"

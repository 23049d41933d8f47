"""The chart on a control plane of its own: what it installs, what that may do, and what stays."""

import re
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest

from tests.cluster import charts, support
from tests.cluster.kubectl import attempt
from tests.harness.api import Api, Object
from tests.harness.audit import Audit
from tests.harness.binaries import REPOSITORY
from tests.harness.controlplane import ControlPlane
from tests.harness.fixtures import RESTRICTED
from tests.harness.helm import CHART, RELEASE, Values
from tests.harness.past import Past
from vllm_operator.api.schema import crds

CRDS = [crd["metadata"]["name"] for crd in crds()]


@pytest.fixture(scope="module")
def plane() -> Iterator[ControlPlane]:
    """A control plane that nobody has put CRDs into."""
    with ControlPlane(nodes=2) as running:
        yield running


@pytest.fixture
def home(plane: ControlPlane) -> Iterator[str]:
    """The release's namespace, which admits restricted pods only; the release is gone at the end."""
    if plane.api.get("Namespace", None, RELEASE) is None:
        namespace(plane.api, RELEASE)
    yield RELEASE
    charts.run(plane, "uninstall", RELEASE, "--ignore-not-found")


def namespace(api: Api, name: str) -> str:
    api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": RESTRICTED}})
    return name


def _remove_crds(api: Api) -> None:
    for name in CRDS:
        api.delete("CustomResourceDefinition", None, name, missing_ok=True)
        api.wait_gone("CustomResourceDefinition", None, name)


def uids(api: Api, kind: str, where: str | None = None) -> set[str]:
    return {each["metadata"]["uid"] for each in api.list(kind, where)}


def test_install_upgrade_rollback_uninstall(plane: ControlPlane, home: str) -> None:
    api, models = plane.api, namespace(plane.api, "models-of-a-life")
    _remove_crds(api)
    notes = charts.install(plane, {})
    assert "kubectl apply --server-side --force-conflicts -f charts/vllm-operator/crds/" in notes
    assert f"kubectl -n {RELEASE} rollout status deployment/{RELEASE}" in notes
    assert len(api.list("Pod", RELEASE)) == 2
    _helm_test_ends(plane)
    definitions = uids(api, "CustomResourceDefinition")
    with charts.operator(plane) as operator:
        support.put(api, support.server(models))
        support.wait_serving(api, models)
        pods = uids(api, "Pod", models)
        first = charts.deployment(plane)
        told = charts.run(
            plane,
            "upgrade",
            RELEASE,
            str(CHART),
            "--set=workers=8",
            "--set=watchNamespaces={models-of-a-life}",
            *charts.WAIT,
        )
        assert "kubectl apply --server-side --force-conflicts -f charts/vllm-operator/crds/" in told
        container = charts.deployment(plane)["spec"]["template"]["spec"]["containers"][0]
        assert {"name": "VLLM_OPERATOR_WORKERS", "value": "8"} in container["env"]
        assert api.get("ClusterRole", None, RELEASE) is None
        assert api.get("Role", models, RELEASE) is not None
        charts.run(plane, "rollback", RELEASE, "1", *charts.WAIT)
        assert charts.deployment(plane)["spec"] == first["spec"]
        assert api.get("Role", models, RELEASE) is None
        assert operator.stop() == 0
    charts.run(plane, "uninstall", RELEASE, "--wait")
    assert [api.get("Deployment", RELEASE, RELEASE), api.get("ClusterRole", None, RELEASE)] == [None, None]
    assert uids(api, "CustomResourceDefinition") == definitions, "Helm keeps them"
    assert uids(api, "Pod", models) == pods, "servers serve on"
    # Nothing holds a resource back when nobody looks after it any more.
    api.delete("VLLMServer", models, "chat")
    api.wait_gone("VLLMServer", models, "chat")
    # The garbage collector looks for new kinds every 30 s (k8s.io/kubernetes v1.36.3,
    # cmd/kube-controller-manager/app/core.go: syncPeriod), and these CRDs are hardly older.
    api.wait_gone("Deployment", models, "chat", timeout=120)


def test_crds_that_helm_has_installed_are_upgraded_deliberately(plane: ControlPlane, home: str) -> None:
    charts.install(plane, {"replicas": 1})
    # Such as an older version would have left it.
    plane.api.patch("CustomResourceDefinition", None, CRDS[0], {"spec": {"names": {"shortNames": ["old"]}}})
    charts.run(plane, "upgrade", RELEASE, str(CHART), *charts.WAIT)
    assert _short_names(plane.api) == ["old"]
    line = charts.documented("charts/vllm-operator/README.md", "kubectl apply")
    charts.kubectl(plane, *charts.words(line))
    assert _short_names(plane.api) == ["vllm"]


def _short_names(api: Api) -> list[str]:
    crd = api.get("CustomResourceDefinition", None, CRDS[0])
    assert crd is not None
    names: list[str] = crd["spec"]["names"]["shortNames"]
    return names


MODES: dict[str, Values] = {"cluster-wide": {}, "namespaced": {}, "without-logs": {"readLogs": False}}


@pytest.mark.parametrize("mode", MODES)
def test_the_operator_works_with_the_rights_of_the_chart(mode: str, plane: ControlPlane, home: str) -> None:
    api, alone = plane.api, mode != "cluster-wide"
    first, second, third = (namespace(api, f"{mode}-{number}") for number in (1, 2, 3))
    watched = [first, second] if alone else []
    charts.install(plane, {**MODES[mode], "watchNamespaces": watched})
    assert plane.audit_log is not None
    with closing(Audit(plane.audit_log, api)) as audit:
        since = audit.mark()  # operators of other tests had the same name
        with charts.operator(plane) as operator:
            for name in (first, second, third):
                support.put(api, support.server(name, prefetch=True))
            for name in watched or [first, second, third]:
                support.wait_serving(api, name)
            support.wait_at_rest(audit, operator, first)
            _helm_test_passes_on(operator.health_port)
        # A watch is in the log only once it has ended.
        assert support.refused(audit, operator, since=since) == []
        asked = {each.namespace for each in audit.requests(operator.user, since=since) if each.resource}
    # Lists and watches of the whole cluster name no namespace.
    assert asked == ({RELEASE, *watched} if alone else {RELEASE, first, second, third, ""})
    assert may(plane, operator.user, "list", "pods", third) is not alone
    for name in (first, second, third):
        assert not may(plane, operator.user, "get", "secrets", name)
        assert not may(plane, operator.user, "delete", "vllmservers.vllm-operator.dev", name)
    assert may(plane, operator.user, "get", "pods/log", first) is MODES[mode].get("readLogs", True)
    if alone:
        untouched = api.get("VLLMServer", third, "chat")
        assert untouched is not None
        assert untouched["status"] == {"observedGeneration": -1}
        assert api.list("Deployment", third) == []
    for name in (first, second, third):
        api.delete("Namespace", None, name)


def may(plane: ControlPlane, user: str, verb: str, resource: str, where: str) -> bool:
    done = attempt(plane, where, "auth", "can-i", verb, *resource_words(resource), f"--as={user}")
    assert done.stdout.strip() in ("yes", "no"), done.stderr
    return done.stdout.strip() == "yes"


def resource_words(resource: str) -> list[str]:
    name, _, subresource = resource.partition("/")
    return [name, f"--subresource={subresource}"] if subresource else [name]


def _helm_test_passes_on(port: int) -> None:
    """What the pod of `helm test` runs, against the operator that runs here."""
    program = [sys.executable, str(CHART / "files" / "test.py"), f"http://127.0.0.1:{port}"]
    done = subprocess.run(program, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "vllm_operator_leader 1.0" in done.stdout


def _helm_test_ends(plane: ControlPlane) -> None:
    """`helm test` makes its pod, waits for its end, which this plays, and takes it away."""
    name = f"{RELEASE}-test"
    with ThreadPoolExecutor(1) as pool:
        tested = pool.submit(charts.run, plane, "test", RELEASE)
        plane.api.wait_object("Pod", RELEASE, name, lambda pod: pod["status"]["phase"] == "Running")
        plane.api.patch_status("Pod", RELEASE, name, {"phase": "Succeeded"})
        assert "Phase:          Succeeded" in tested.result()
    plane.api.wait_gone("Pod", RELEASE, name)


def test_people_have_kubernetes_own_roles_for_our_kinds(plane: ControlPlane, home: str) -> None:
    charts.install(plane, {"replicas": 0})
    api = plane.api
    where = namespace(api, "people")
    for role in ("view", "edit", "admin"):
        subject = {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": role}
        reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role}
        common: Object = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding"}
        api.create(
            common
            | {"metadata": {"name": role, "namespace": where}, "roleRef": reference, "subjects": [subject]}
        )
    kinds = [name.split(".", 1)[0] + ".vllm-operator.dev" for name in CRDS]
    api.wait_for(lambda: may(plane, "admin", "delete", kinds[0], where), message="the roles are aggregated")
    for kind in kinds:
        assert may(plane, "view", "list", kind, where)
        assert not may(plane, "view", "create", kind, where)
        for role in ("edit", "admin"):
            assert may(plane, role, "create", kind, where)
            assert not may(plane, role, "patch", f"{kind}/status", where)
    assert may(plane, "edit", "patch", "vllmservers.vllm-operator.dev/scale", where)
    api.delete("Namespace", None, where)


@pytest.mark.parametrize("how", ["-f=manifests/install.yaml", "-k=manifests/overlays/cluster-wide"])
def test_manifests_install_the_operator(how: str, plane: ControlPlane) -> None:
    _remove_crds(plane.api)
    flag, path = how.split("=")
    words = (flag, str(REPOSITORY / path))
    charts.kubectl(plane, "apply", "--server-side", *words)
    charts.kubectl(plane, "-n", RELEASE, "rollout", "status", "deployment/vllm-operator", "--timeout=60s")
    charts.kubectl(plane, "apply", "--server-side", "--dry-run=server", "-f", "manifests/samples")
    # A second apply would change nothing.
    assert charts.kubectl(plane, "diff", "--server-side", *words) == ""
    charts.kubectl(plane, "delete", *words, "--wait=true")


def test_the_namespaced_overlay_installs_the_operator(plane: ControlPlane) -> None:
    _remove_crds(plane.api)
    namespace(plane.api, "models")
    words = ("-k", str(REPOSITORY / "manifests" / "overlays" / "namespaced"))
    charts.kubectl(plane, "apply", "--server-side", *words)
    with charts.operator(plane):
        support.put(plane.api, support.server("models"))
        support.wait_serving(plane.api, "models")
    assert plane.api.get("ClusterRole", None, RELEASE) is None
    charts.kubectl(plane, "delete", *words, "--wait=true")


def test_a_second_release_in_the_namespace_is_refused(plane: ControlPlane, home: str) -> None:
    """They would share the Lease."""
    charts.install(plane, {"replicas": 0})
    words = ("--skip-crds", "--set=aggregateRoles=false,watchNamespaces={default}")
    done = charts.attempt(plane, "install", "second", str(CHART), *words)
    assert done.returncode != 0
    assert (
        f"Namespace {RELEASE} has an operator already: Deployment {RELEASE} of release {RELEASE}"
        in done.stderr
    )
    charts.run(plane, "upgrade", RELEASE, str(CHART), "--set=replicas=0", "--set=workers=8")


def test_values_of_an_older_chart_alone_are_refused_and_with_the_newer_ones_taken(
    plane: ControlPlane, home: str
) -> None:
    """As docs/upgrade.md says: `--reuse-values` keeps the older chart's defaults, which lack what is new."""
    with Past() as past:
        charts.install(plane, {"replicas": 0, "workers": 8}, past.chart)
    before = charts.deployment(plane)
    done = charts.attempt(plane, "upgrade", RELEASE, str(CHART), "--reuse-values")
    assert done.returncode != 0
    assert re.search(r"at '': missing propert.* 'verify'", done.stderr)
    assert charts.deployment(plane)["metadata"]["uid"] == before["metadata"]["uid"]
    assert charts.deployment(plane)["spec"] == before["spec"]
    charts.run(plane, *charts.words(charts.documented("docs/upgrade.md", "helm upgrade")))
    (container,) = charts.deployment(plane)["spec"]["template"]["spec"]["containers"]
    values = {each["name"]: each.get("value") for each in container["env"]}
    assert (values["VLLM_OPERATOR_WORKERS"], values["VLLM_OPERATOR_VERIFY"]) == ("8", "true")


def test_bad_values_are_refused_and_only_crds_are_made(plane: ControlPlane, home: str) -> None:
    done = charts.attempt(plane, "install", RELEASE, str(CHART), "--set=replicas=many")
    assert done.returncode != 0
    assert "at '/replicas': got string, want integer" in done.stderr
    assert plane.api.list("Deployment", RELEASE) == []
    assert plane.api.get("ServiceAccount", RELEASE, RELEASE) is None

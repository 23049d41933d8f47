"""The control plane of the tests is itself what the tests believe it to be."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.harness import manifests
from tests.harness.api import Api, ApiError, Object, condition
from tests.harness.audit import Audit
from tests.harness.binaries import REPOSITORY
from tests.harness.controlplane import ControlPlane
from tests.harness.equipment import DEFAULT_CLASS
from tests.harness.kubeconfig import read_kubeconfig, write_kubeconfig
from tests.harness.manifests import first_container, is_bound, is_ready, waiting_state
from tests.harness.processes import children_of


@pytest.fixture
def plane(cluster: object) -> ControlPlane:
    if not isinstance(cluster, ControlPlane):
        pytest.skip("these tests are about the control plane that --kubeconfig replaces")
    return cluster


@pytest.fixture
def admin(plane: ControlPlane) -> Api:
    return plane.api


def test_fake_nodes_are_ready_and_offer_accelerators(plane: ControlPlane) -> None:
    nodes = plane.api.list("Node")
    assert len(nodes) >= 2
    for node in nodes:
        assert is_ready(node)
        assert node["status"]["allocatable"]["habana.ai/gaudi"] == "8"


def test_a_restricted_deployment_becomes_available(admin: Api, namespace: str) -> None:
    seen = len(admin.warnings)
    admin.create(manifests.deployment(namespace, "plain", replicas=2))
    admin.wait_object(
        "Deployment", namespace, "plain", lambda obj: obj.get("status", {}).get("availableReplicas") == 2
    )
    assert admin.warnings[seen:] == []
    pods = admin.list("Pod", namespace, labels="app=plain")
    assert len({pod["status"]["podIP"] for pod in pods}) == 2
    for pod in pods:
        assert is_ready(pod)
        assert first_container(pod)["started"] is True
        assert first_container(pod)["state"]["running"]["startedAt"]

    admin.scale("Deployment", namespace, "plain", 0)
    admin.wait_for(lambda: not admin.list("Pod", namespace), message="pods that are deleted go away")


def test_the_namespace_refuses_what_is_not_restricted(admin: Api, namespace: str) -> None:
    pod = manifests.pod(namespace, "bold")
    del pod["spec"]["containers"][0]["securityContext"]
    with pytest.raises(ApiError, match='violates PodSecurity "restricted') as refusal:
        admin.create(pod)
    assert refusal.value.code == 403


def test_a_slow_pod_runs_first_and_is_ready_later(admin: Api, namespace: str) -> None:
    created = admin.create(manifests.pod(namespace, "slow", environment={"TEST_LIFE": "slow"}))
    seen: list[tuple[str, bool, bool]] = []
    events = admin.watch("Pod", namespace, seconds=60, since=created["metadata"]["resourceVersion"])
    for _, pod in events:
        started = bool(first_container(pod).get("started"))
        seen.append((pod["status"]["phase"], is_ready(pod), started))
        if is_ready(pod):
            break
    assert ("Running", False, False) in seen
    assert seen[-1] == ("Running", True, True)


def test_a_pod_that_never_gets_ready_runs_on(admin: Api, namespace: str) -> None:
    admin.create(manifests.pod(namespace, "never", environment={"TEST_LIFE": "never-ready"}))
    admin.wait_object("Pod", namespace, "never", lambda pod: pod["status"]["phase"] == "Running")
    admin.create(manifests.pod(namespace, "slow", environment={"TEST_LIFE": "slow"}))
    admin.wait_object("Pod", namespace, "slow", is_ready)
    never = admin.get("Pod", namespace, "never")
    assert never is not None
    assert not is_ready(never)
    assert first_container(never)["started"] is False
    assert "running" in first_container(never)["state"]


def test_a_life_can_be_chosen_by_annotation(admin: Api, namespace: str) -> None:
    pod = manifests.pod(namespace, "crash")
    pod["metadata"]["annotations"] = {"test-life": "crash", "test-message": "out of devices"}
    admin.create(pod)
    crashed = admin.wait_object("Pod", namespace, "crash", waiting_state)
    assert first_container(crashed)["lastState"]["terminated"]["message"] == "out of devices"


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({}, "vllm: error: unrecognized arguments: --nope"),
        ({"TEST_MESSAGE": 'a "b" 🙈\nline 2: <é> {{ x }}'}, 'a "b" 🙈\nline 2: <é> {{ x }}'),
    ],
)
def test_a_crashing_pod_backs_off(
    admin: Api, namespace: str, environment: dict[str, str], message: str
) -> None:
    admin.create(manifests.pod(namespace, "crash", environment={"TEST_LIFE": "crash"} | environment))

    def restarted(least: int, pod: Object) -> bool:
        return bool(first_container(pod).get("restartCount", 0) >= least)

    for least in (1, 2):
        pod = admin.wait_object("Pod", namespace, "crash", partial(restarted, least))
        assert waiting_state(pod)["reason"] == "CrashLoopBackOff"
        last = first_container(pod)["lastState"]["terminated"]
        assert (last["exitCode"], last["message"]) == (2, message)
        assert not is_ready(pod)


def test_an_image_that_cannot_be_pulled(admin: Api, namespace: str) -> None:
    created = admin.create(manifests.pod(namespace, "pull", environment={"TEST_LIFE": "image-pull"}))
    seen: list[Object] = []
    events = admin.watch("Pod", namespace, seconds=60, since=created["metadata"]["resourceVersion"])
    for _, pod in events:
        assert pod["status"]["phase"] == "Pending"
        if waiting_state(pod):
            seen.append(waiting_state(pod))
        if waiting_state(pod).get("reason") == "ImagePullBackOff":
            break
    assert [state["reason"] for state in seen] == ["ErrImagePull", "ImagePullBackOff"]
    assert all("example.invalid/engine:1" in state["message"] for state in seen)


@pytest.mark.parametrize(
    ("life", "finished", "code"), [("", "Complete", 0), ("slow", "Complete", 0), ("crash", "Failed", 2)]
)
def test_jobs_finish(admin: Api, namespace: str, life: str, finished: str, code: int) -> None:
    message = '{"scale": 0.5}'
    environment = {"TEST_LIFE": life, "TEST_MESSAGE": message}
    admin.create(manifests.job(namespace, "work", environment=environment))
    admin.wait_object("Job", namespace, "work", lambda job: condition(job, finished).get("status") == "True")
    (pod,) = admin.list("Pod", namespace)
    end = first_container(pod)["state"]["terminated"]
    assert (end["exitCode"], end["message"]) == (code, message)

    admin.delete("Job", namespace, "work", propagation="Background")
    admin.wait_for(lambda: not admin.list("Pod", namespace), message="a finished Job's pods go away")


def test_a_running_jobs_pod_goes_away_with_the_job(admin: Api, namespace: str) -> None:
    admin.create(manifests.job(namespace, "work", environment={"TEST_LIFE": "never-ready"}))
    admin.wait_for(lambda: [pod for pod in admin.list("Pod", namespace) if first_container(pod)])
    admin.delete("Job", namespace, "work", propagation="Foreground")
    admin.wait_gone("Job", namespace, "work")
    assert admin.list("Pod", namespace) == []


def test_a_pod_that_fits_nowhere_is_unschedulable(admin: Api, namespace: str) -> None:
    admin.create(manifests.pod(namespace, "huge", cpu="1000"))
    pod = admin.wait_object("Pod", namespace, "huge", lambda pod: condition(pod, "PodScheduled"))
    verdict = condition(pod, "PodScheduled")
    assert (verdict["status"], verdict["reason"]) == ("False", "Unschedulable")
    assert "Insufficient cpu" in verdict["message"]


def test_storage_binds_at_once_or_waits_for_a_pod(admin: Api, namespace: str) -> None:
    waits = admin.create(manifests.claim(namespace, "waits", None))
    assert waits["spec"]["storageClassName"] == DEFAULT_CLASS
    admin.create(manifests.claim(namespace, "immediate", "immediate"))
    immediate = admin.wait_object("PersistentVolumeClaim", namespace, "immediate", is_bound)
    assert immediate["status"]["capacity"] == {"storage": "1Ti"}
    waits = admin.wait_object("PersistentVolumeClaim", namespace, "waits")
    assert waits["status"]["phase"] == "Pending"

    admin.create(manifests.pod(namespace, "user", volume_claim="waits"))
    admin.wait_object("PersistentVolumeClaim", namespace, "waits", is_bound)
    admin.wait_object("Pod", namespace, "user", is_ready)


def test_volumes_of_deleted_claims_are_replaced(plane: ControlPlane, namespace: str) -> None:
    api = plane.api
    api.create(manifests.claim(namespace, "immediate", "immediate"))
    used = api.wait_object("PersistentVolumeClaim", namespace, "immediate", is_bound)["spec"]["volumeName"]
    api.delete("PersistentVolumeClaim", namespace, "immediate")
    api.wait_object("PersistentVolume", None, used, lambda volume: volume["status"]["phase"] == "Released")
    plane.ensure_volumes(available=25)
    api.wait_gone("PersistentVolume", None, used)
    free = [volume["spec"] for volume in api.list("PersistentVolume") if not volume["spec"].get("claimRef")]
    assert [spec["storageClassName"] for spec in free].count("immediate") >= 25
    assert [spec["storageClassName"] for spec in free].count("wait") >= 25


@pytest.fixture
def robot(plane: ControlPlane, namespace: str, tmp_path: Path) -> Iterator[Api]:
    """A client with the token of a ServiceAccount that may write ConfigMaps and Leases."""
    metadata = {"name": "robot", "namespace": namespace}
    rules = [
        {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["create", "patch"]},
        {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["create"]},
    ]
    group = "rbac.authorization.k8s.io"
    subjects = [{"kind": "ServiceAccount", "name": "robot", "namespace": namespace}]
    reference = {"apiGroup": group, "kind": "Role", "name": "robot"}
    common = {"apiVersion": f"{group}/v1", "metadata": metadata}
    plane.api.create({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata})
    plane.api.create(common | {"kind": "Role", "rules": rules})
    plane.api.create(common | {"kind": "RoleBinding", "roleRef": reference, "subjects": subjects})
    connection = read_kubeconfig(plane.kubeconfig).as_bearer(plane.api.token(namespace, "robot"))
    with Api(write_kubeconfig(tmp_path / "kubeconfig", connection)) as client:
        yield client


def test_the_audit_log_counts_writes_by_user(robot: Api, namespace: str, audit: Audit) -> None:
    user = f"system:serviceaccount:{namespace}:robot"
    lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease"}
    before = audit.mark()
    robot.create(manifests.config_map(namespace, "words", {}))
    middle = audit.mark()
    robot.apply(manifests.config_map(namespace, "words", {"a": "b"}))
    robot.create(lease | {"metadata": {"name": "leader", "namespace": namespace}})
    with pytest.raises(ApiError, match='cannot create resource "pods"'):
        robot.create(manifests.pod(namespace, "forbidden"))

    def told(since: int, leases: bool) -> list[tuple[str, str, int]]:
        writes = audit.writes(user, namespace, since, leases)
        return [(each.verb, each.resource, each.code) for each in writes]

    applied, refused = ("patch", "configmaps", 200), ("create", "pods", 403)
    assert told(before, leases=False) == [("create", "configmaps", 201), applied, refused]
    assert told(middle, leases=True) == [applied, ("create", "leases", 201), refused]


def test_the_audit_log_leaves_the_system_out(admin: Api, namespace: str, audit: Audit) -> None:
    admin.create(manifests.deployment(namespace, "plain"))
    admin.wait_for(lambda: [pod for pod in admin.list("Pod", namespace) if is_ready(pod)])
    users = {each.user for each in audit.requests()}
    system = ("system:kube-", "system:kwok", "system:apiserver", "system:serviceaccount:kube-system:")
    assert "admin" in users
    assert {user for user in users if user.startswith(system)} == set()


def test_applied_text_comes_back_unchanged(admin: Api, namespace: str) -> None:
    text = 'emoji 😀 quote " del \x7f next-line \x85 separator \u2028 mark \ufeff {{ }} # & *'
    applied = admin.apply(manifests.config_map(namespace, "words", {"text": text}))
    assert applied["data"] == {"text": text}
    with pytest.raises(ApiError, match="conflict with") as conflict:
        admin.apply(manifests.config_map(namespace, "words", {"text": "other"}), manager="somebody-else")
    assert (conflict.value.code, conflict.value.reason) == (409, "Conflict")


def test_a_wait_that_fails_shows_what_was_last_read(admin: Api, namespace: str) -> None:
    admin.create(manifests.config_map(namespace, "words", {"state": "as it stands"}))
    with pytest.raises(AssertionError, match=r"(?s)ConfigMap .*/words.*as it stands"):
        admin.wait_object("ConfigMap", namespace, "words", lambda obj: not obj["data"], timeout=0.1)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_nothing_outlives_the_process_that_started_it(
    admin: Api, tmp_path: Path, number: signal.Signals
) -> None:
    command = [sys.executable, "-m", "tests.harness", "--nodes", "1", "--volumes", "1"]
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    with subprocess.Popen(
        command, cwd=REPOSITORY, env=environment, stdout=subprocess.PIPE, text=True
    ) as harness:
        assert harness.stdout is not None
        assert "ready after" in harness.stdout.readline()
        children = children_of(harness.pid)
        assert {"etcd", "kwok", "kube-apiserver", "kube-scheduler"} <= set(children.values())
        assert len(children) == 5
        harness.send_signal(number)
        harness.wait(60)
    admin.wait_for(
        lambda: not any(Path(f"/proc/{child}").exists() for child in children), message=f"{children} gone"
    )
    if number != signal.SIGKILL:
        assert harness.returncode == 0
        assert list(tmp_path.iterdir()) == []

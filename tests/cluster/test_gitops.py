"""What Argo CD and Flux do to our resources, with the requests that they make.

Argo CD syncs by a forced server-side apply as argocd-controller, and compares by a dry run of that (argo-cd
v3.6.1, docs/user-guide/sync-options.md and diff-strategies.md); Flux does so as kustomize-controller.
"""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path

import pytest
import yaml

from tests.cluster import support
from tests.cluster.kubectl import kubectl
from tests.cluster.pool import Pool
from tests.cluster.test_kubectl import CPU, SAMPLES, claims_to_fill
from tests.harness import manifests
from tests.harness.api import Api, Object
from tests.harness.audit import Audit
from tests.harness.binaries import REPOSITORY
from tests.harness.controlplane import ControlPlane
from tests.harness.fixtures import RESTRICTED
from tests.harness.kinds import KINDS
from tests.harness.operator import Cluster, OperatorProcess

HEALTH = REPOSITORY / "manifests" / "gitops" / "argocd" / "health"
INSTANCE = "app.kubernetes.io/instance"
ARGO = "argocd.argoproj.io"
FLUX = "kustomize.toolkit.fluxcd.io"
MANAGERS = {"argo": "argocd-controller", "flux": "kustomize-controller"}
OURS = ("VLLMServer", "FP8Quantization")
Written = Callable[[Callable[[], object]], list[str]]


def marked(obj: Object, namespace: str, application: str, tool: str = "argo") -> Object:
    """Return an object of Git with what a tool puts on it; Argo CD's by each of its ways to track."""
    name, group = obj["metadata"]["name"], obj["apiVersion"].rpartition("/")[0]
    if tool == "flux":
        marks: Object = {"labels": {f"{FLUX}/name": application, f"{FLUX}/namespace": "flux-system"}}
    else:
        tracking = f"{application}:{group}/{obj['kind']}:{namespace}/{name}"
        marks = {"labels": {INSTANCE: application}, "annotations": {f"{ARGO}/tracking-id": tracking}}
    return obj | {"metadata": obj["metadata"] | marks | {"namespace": namespace}}


def is_mark(key: str) -> bool:
    return key.startswith((ARGO, FLUX))


class Git:
    """A file of Git, as a tool brings it into a namespace for one of its Applications."""

    def __init__(
        self, api: Api, namespace: str, file: Path, application: str = "models", tool: str = "argo"
    ) -> None:
        self._api, self._manager = api, MANAGERS[tool]
        found = list(yaml.safe_load_all(file.read_text()))
        self.objects = [marked(obj, namespace, application, tool) for obj in found]
        self.names = [(obj["kind"], obj["metadata"]["name"]) for obj in found]

    def sync(self) -> list[Object]:
        """Apply it, and return what the API server holds then."""
        return [self._api.apply(obj, self._manager, force=True) for obj in self.objects]

    def differences(self) -> list[tuple[Object, Object]]:
        """What is, and what would be after a sync, where these differ in more than the status."""
        pairs = []
        for obj in self.objects:
            metadata = obj["metadata"]
            live = self._api.get(obj["kind"], metadata["namespace"], metadata["name"])
            assert live is not None
            pairs.append((bare(live), bare(self._api.apply(obj, self._manager, force=True, dry_run=True))))
        return [(live, dry) for live, dry in pairs if live != dry]

    def wait_ready(self) -> None:
        """Wait until all of ours in it are ready."""
        for obj in self.objects:
            if obj["kind"] in OURS:
                reason = "Serving" if obj["kind"] == "VLLMServer" else "Calibrated"
                name, namespace = obj["metadata"]["name"], obj["metadata"]["namespace"]
                support.wait_condition(self._api, namespace, name, reason, "True", of=obj["kind"])


def bare(obj: Object) -> Object:
    """Return an object without its status and without what every write changes."""
    metadata = {
        key: value
        for key, value in obj["metadata"].items()
        if key not in ("managedFields", "resourceVersion")
    }
    return {key: value for key, value in obj.items() if key != "status"} | {"metadata": metadata}


@pytest.fixture
def written(shared: OperatorProcess, audit: Audit, namespace: str) -> Written:
    """Tells what the operator writes because of an act: from one rest to the next."""

    def because_of(act: Callable[[], object]) -> list[str]:
        support.wait_at_rest(audit, shared, namespace)
        mark = audit.mark()
        act()
        support.wait_at_rest(audit, shared, namespace)
        return support.shown(audit.writes(shared.user, namespace, since=mark))

    return because_of


def everything(api: Api, namespace: str) -> Iterator[Object]:
    """Yield all objects of a namespace, but for Events; the kind PodMonitor is not installed here."""
    for kind, where in KINDS.items():
        if where.namespaced and kind not in ("Event", "PodMonitor"):
            yield from api.list(kind, namespace)


def versions(objects: Iterable[Object]) -> dict[support.Ref, tuple[str, str]]:
    """Return uid and resourceVersion of objects: equal means untouched."""
    return support.versions({(obj["kind"], obj["metadata"]["name"]): obj for obj in objects})


@pytest.fixture
def samples(cluster: ControlPlane, api: Api, namespace: str, pool: Pool) -> Iterator[dict[str, Git]]:
    """All samples, each in a namespace of its own, with the claims that its page has readers make first."""
    cluster.ensure_volumes(2 * len(SAMPLES))
    for _ in range(8):
        pool.add_node(cpus=160, memory="1Ti")  # some for those that take all eight cards, whoever takes one
    found = {}
    for sample in SAMPLES:
        place = f"{namespace}-{sample.stem}"
        metadata = {"name": place, "labels": RESTRICTED}
        api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
        for name, claim in claims_to_fill().items():
            if f"claimName: {name}\n" in sample.read_text():
                api.apply(claim | {"metadata": {"name": name, "namespace": place}})
        found[place] = Git(api, place, sample)
    yield found
    for place in found:
        api.delete("Namespace", None, place)


def test_no_sample_differs_from_git_whatever_the_operator_does(
    api: Api, samples: dict[str, Git], shared: OperatorProcess, audit: Audit
) -> None:
    def all_differences() -> list[tuple[Object, Object]]:
        return [pair for git in samples.values() for pair in git.differences()]

    for git in samples.values():
        git.sync()
    assert all_differences() == []
    for git in samples.values():
        git.wait_ready()
    assert all_differences() == []
    support.wait_at_rest(audit, shared, samples)
    assert {each.namespace for each in audit.writes(shared.user, samples)} == set(samples)
    before = {place: versions(everything(api, place)) for place in samples}
    mark = audit.mark()
    for git in samples.values():
        git.sync()
    support.wait_at_rest(audit, shared, samples)
    assert support.shown(audit.writes(shared.user, samples, since=mark, leases=True)) == []
    assert all_differences() == []
    assert {place: versions(everything(api, place)) for place in samples} == before
    children = [
        obj
        for place, git in samples.items()
        for obj in everything(api, place)
        if (obj["kind"], obj["metadata"]["name"]) not in git.names
    ]
    assert {obj["kind"] for obj in children} >= {*support.CHILD_KINDS, "Pod", "ReplicaSet"}
    for metadata in (obj["metadata"] for obj in children):
        labels = metadata.get("labels", {})
        assert not [key for key in (*labels, *metadata.get("annotations", {})) if is_mark(key)], metadata
        assert labels.get(INSTANCE) != "models", metadata


@pytest.mark.parametrize("tool", MANAGERS)
def test_what_a_tool_puts_on_a_server_changes_no_child(
    api: Api, namespace: str, written: Written, tool: str
) -> None:
    """One that somebody has applied by hand comes under a tool, and later under another Application."""
    (server,) = yaml.safe_load_all(CPU.read_text())
    support.put(api, server | {"metadata": {"name": "chat", "namespace": namespace}})
    generation = support.wait_serving(api, namespace)["metadata"]["generation"]
    ours = f"{support.SERVER_LABEL}=chat"

    def children() -> dict[support.Ref, tuple[str, str]]:
        made = [*support.children(api, namespace).values()]
        made += (obj for kind in ("ReplicaSet", "Pod") for obj in api.list(kind, namespace, ours))
        return versions(made)

    def takes(application: str) -> None:
        git = Git(api, namespace, CPU, application, tool)
        (live,) = git.sync()
        assert application in live["metadata"]["labels"].values()
        assert live["metadata"]["generation"] == generation
        assert git.differences() == []

    assert written(lambda: None) == []
    before = children()
    assert {"ReplicaSet", "Pod", "Deployment"} <= {kind for kind, _ in before}
    for application in ("models", "other"):
        assert written(partial(takes, application)) == []
        assert children() == before


def test_of_an_application_with_a_servers_name_nothing_is_pruned_that_we_have_made(
    api: Api, namespace: str, shared: OperatorProcess
) -> None:
    """Argo CD tracks by label, if told to: an object without an owner and with its label is its own.

    argo-cd v3.6.1, controller/cache/cache.go: isRootAppNode; gitops-engine, pkg/cache/cluster.go:
    GetManagedLiveObjs.
    """
    git = Git(api, namespace, CPU, "chat")
    git.sync()
    git.wait_ready()
    found = list(everything(api, namespace))
    assert [obj for obj in found if obj["kind"] == "PersistentVolumeClaim"]
    own = [
        (obj["kind"], obj["metadata"]["name"])
        for obj in found
        if obj["metadata"].get("labels", {}).get(INSTANCE) == "chat"
        and not obj["metadata"].get("ownerReferences")
    ]
    assert own == git.names


def test_replicas_that_git_leaves_out_belong_to_who_scales(
    api: Api, namespace: str, written: Written, tmp_path: Path
) -> None:
    git = Git(api, namespace, CPU)
    git.sync()
    git.wait_ready()
    api.scale("VLLMServer", namespace, "chat", 2)
    api.wait_object("Deployment", namespace, "chat", lambda obj: obj["spec"]["replicas"] == 2)
    assert git.differences() == []
    assert written(git.sync) == []
    assert support.child(api, namespace, "VLLMServer", "chat")["spec"]["replicas"] == 2
    assert support.child(api, namespace, "Deployment", "chat")["spec"]["replicas"] == 2
    # What Git holds is set back at each sync; left out again, it is what the CRD defaults.
    holds = tmp_path / "holds.yaml"
    holds.write_text(f"{CPU.read_text()}  replicas: 3\n")
    fixed = Git(api, namespace, holds)
    ((live, dry),) = fixed.differences()
    assert (live["spec"]["replicas"], dry["spec"]["replicas"]) == (2, 3)
    fixed.sync()
    assert [obj["spec"]["replicas"] for obj in git.sync()] == [1]


def test_a_pruned_server_goes_with_its_children_and_nothing_comes_back(
    api: Api, namespace: str, written: Written
) -> None:
    """Argo CD prunes in the foreground, unless told otherwise; the cache stays.

    What somebody else has made for the server holds it up, so that it outlives all of its children.
    """
    git = Git(api, namespace, CPU)
    git.sync()
    git.wait_ready()
    uid = support.child(api, namespace, "VLLMServer", "chat")["metadata"]["uid"]
    owner = {"apiVersion": "vllm-operator.dev/v1alpha1", "kind": "VLLMServer", "name": "chat", "uid": uid}
    held = manifests.config_map(namespace, "held", {})
    held["metadata"]["ownerReferences"] = [owner | {"blockOwnerDeletion": True}]
    held["metadata"]["finalizers"] = ["example.com/held"]
    api.create(held)

    def left() -> set[str]:
        return {kind for kind, _ in support.children(api, namespace)}

    def prune() -> None:
        api.delete("VLLMServer", namespace, "chat", propagation="Foreground")
        api.wait_for(
            lambda: left() == {"PersistentVolumeClaim"},
            timeout=support.READY_SECONDS,
            message="only the claim is left",
        )

    assert {"Deployment", "Service", "ServiceAccount", "PersistentVolumeClaim"} <= left()
    assert written(prune) == []
    assert "deletionTimestamp" in support.child(api, namespace, "VLLMServer", "chat")["metadata"]
    assert left() == {"PersistentVolumeClaim"}
    api.patch("ConfigMap", namespace, "held", {"metadata": {"finalizers": None}})
    api.wait_gone("VLLMServer", namespace, "chat", timeout=support.READY_SECONDS)
    assert left() == {"PersistentVolumeClaim"}


def test_the_health_checks_join_what_argos_config_map_holds(cluster: Cluster, api: Api) -> None:
    """By the line of the page, twice: what another manager has set stays."""
    argocd = "argocd"
    api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": argocd}})
    try:
        own = {"application.resourceTrackingMethod": "label"}
        config = {"apiVersion": "v1", "kind": "ConfigMap", "data": own}
        api.apply(config | {"metadata": {"name": "argocd-cm", "namespace": argocd}}, "argocd-install")
        for _ in range(2):
            kubectl(cluster, argocd, "apply", "--server-side", "-k", str(HEALTH))
        data = support.child(api, argocd, "ConfigMap", "argocd-cm")["data"]
        checks = {f"resource.customizations.health.vllm-operator.dev_{kind}" for kind in OURS}
        assert set(data) == checks | set(own)
    finally:
        api.delete("Namespace", None, argocd)

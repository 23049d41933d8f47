"""From an older commit's chart and operator to these, back, and away, while servers of every shape serve.

No image can be built here: each operator is a process that runs the package of its commit with the arguments,
the environment and the ServiceAccount that the chart of that commit renders. The commands are those of
docs/upgrade.md and docs/uninstall.md.
"""

from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import closing
from typing import Any

import pytest

from tests.cluster import charts, quantizing, support
from tests.harness.api import Api, Object, condition
from tests.harness.audit import Audit
from tests.harness.controlplane import ControlPlane
from tests.harness.fixtures import RESTRICTED
from tests.harness.helm import RELEASE, as_words
from tests.harness.operator import OperatorProcess
from tests.harness.past import Past

WHERE = "models"
INSTANCE = "app.kubernetes.io/instance"
SHARED: Object = {"size": "50Gi", "accessModes": ["ReadWriteMany"]}
NEWER_IMAGE = "registry.example/vllm-cpu:v0.32.1"
NEWER = {"defaultImages": {"cpu": {"image": NEWER_IMAGE, "engine": "vllm 0.32.1"}}}

SERVERS: dict[str, dict[str, Any]] = {
    "cpu": {},
    "fetched": {"prefetch": True},
    "own-image": {"image": support.IMAGE, "engine": support.ENGINE},
    "goes-whole": {"cache": {"size": "50Gi", "retention": "Delete"}},
    "several": {"replicas": 3, "cache": SHARED},
    "paused": {"replicas": 2, "cache": SHARED},
    "suspended": {"replicas": 0},
    "gaudi": {"device": "gaudi", "tensorParallelSize": 2},
    "dynamic": {"device": "gaudi", "fp8": {"mode": "Dynamic"}},
    "calibrated": {
        "device": "gaudi",
        "cache": {"claimName": quantizing.CLAIM},
        "fp8": {"quantizationRef": {"name": "llama"}},
    },
}
REASONS = {"suspended": "Suspended", "paused": "Paused"}
ON_DEFAULT_IMAGE = {"cpu", "fetched", "goes-whole", "several", "paused", "suspended"}
"""Servers on the default image that the upgrade changes. Between these commits no template differs."""
RELABELLED = 7
"""Claims that lose a label by the upgrade: all that outlive a server, but that of the paused one."""
NOT_REFRESHED = {"several", "paused"}

KEY: Object = {"apiKeySecretRef": {"name": "callers"}}
"""The one field that the older operator does not know and that decides a pod."""
OTHERS_THAT_ARE_NEW: Object = {
    "verify": False,
    "networkPolicy": {"from": [{"podSelector": {"matchLabels": {"app": "web"}}}]},
    "microservice": {"enabled": True, "replicas": 2},
}
"""Fields that the older operator does not know, and that decide no pod of a server."""


@pytest.fixture
def plane() -> Iterator[ControlPlane]:
    """A control plane that nobody has put CRDs into, with the namespaces of operator and servers."""
    with ControlPlane(nodes=2) as running:
        for name in (RELEASE, WHERE):
            metadata = {"name": name, "labels": RESTRICTED}
            running.api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
        yield running


@pytest.fixture
def audit(plane: ControlPlane) -> Iterator[Audit]:
    with closing(Audit(plane.audit_log, plane.api)) as log:
        yield log


@pytest.fixture
def past() -> Iterator[Past]:
    with Past() as unpacked:
        yield unpacked


def documented(page: str, part: str, server: str = "") -> list[str]:
    """The words, after the first, of the one command of a page that has a part, for a server of this test."""
    line = charts.documented(f"docs/{page}", part)
    if server:
        assert " -n default " in line
        assert " vllm chat " in line
        line = line.replace(" -n default ", f" -n {WHERE} ").replace(" vllm chat ", f" vllm {server} ")
    return charts.words(line)


def rolled_out(plane: ControlPlane) -> None:
    told = charts.kubectl(plane, *documented("upgrade.md", "kubectl -n vllm-operator rollout"))
    assert "successfully rolled out" in told


def patched(plane: ControlPlane, field: str, server: str) -> None:
    """Set a field of a server's spec as docs/upgrade.md does."""
    start = f'kubectl -n default patch vllm chat --type=merge -p \'{{"spec":{{"{field}"'
    charts.kubectl(plane, *documented("upgrade.md", start, server))


def put(api: Api, name: str, **more: Any) -> None:
    support.put(api, support.server(WHERE, name, **(SERVERS.get(name, {}) | more)))


def wait_ready(api: Api, names: Collection[str]) -> dict[str, str]:
    """Wait until servers, and the quantization, are Ready as their specs are; return since when."""
    quantizing.wait_ready(api, WHERE)
    found = {n: support.wait_condition(api, WHERE, n, REASONS.get(n, "Serving"), "True") for n in names}
    return {name: condition(obj, "Ready")["lastTransitionTime"] for name, obj in found.items()}


def template(api: Api, name: str) -> Object:
    """A server's pod template without the name of its revision."""
    found: Object = support.child(api, WHERE, "Deployment", name)["spec"]["template"]
    del found["metadata"]["labels"][support.RECORD_LABEL]
    return found


def pods(api: Api, but: Collection[str] = ()) -> dict[support.Ref, Any]:
    """All that would show that a pod was made anew, or is about to be, of all but some; pods of Jobs go."""
    found: dict[support.Ref, Any] = {}
    for kind in ("Deployment", "ReplicaSet", "Pod", "Job"):
        for obj in api.list(kind, WHERE, labels=INSTANCE):
            labels, metadata = obj["metadata"]["labels"], obj["metadata"]
            if labels[INSTANCE] in but or (kind == "Pod" and "pod-template-hash" not in labels):
                continue
            parts = (metadata["generation"], obj["spec"]["template"]) if kind == "Deployment" else ()
            found[kind, metadata["name"]] = (metadata["uid"], *parts)
    return found


def claims(api: Api) -> dict[str, Object]:
    """What the operator has a say in of each claim."""
    parts = ("labels", "annotations", "ownerReferences", "finalizers")
    return {
        each["metadata"]["name"]: {"spec": each["spec"]}
        | {part: each["metadata"].get(part) for part in parts}
        for each in api.list("PersistentVolumeClaim", WHERE)
    }


def variables(api: Api, name: str) -> set[str]:
    (container,) = template(api, name)["spec"]["containers"]
    return {each["name"] for each in container["env"]}


def written(audit: Audit, operator: OperatorProcess, since: int, but: str = "-") -> Counter[tuple[str, str]]:
    """How often the operator, once it is at rest, has written what, but of names that begin so."""
    support.wait_at_rest(audit, operator, WHERE)
    assert support.refused(audit, operator, since=since) == []
    return Counter(
        (each.verb, "/".join(filter(None, (each.resource, each.subresource))))
        for each in audit.writes(operator.user, WHERE, since=since)
        if not each.name.startswith(but)
    )


def test_upgrade_refresh_rollback_uninstall(plane: ControlPlane, past: Past, audit: Audit) -> None:
    api = plane.api
    charts.install(plane, {"workers": 8}, past.chart)
    with charts.operator(plane, past.source) as older:
        _make_servers(api)
        _upgrade_the_chart(plane, audit, older)
        ended(older)
    _no_pod_rolls(plane, audit)
    with charts.operator(plane) as newer:
        _what_is_offered_is_what_a_refresh_takes(plane)
        _use_what_is_new(plane)
        support.wait_at_rest(audit, newer, WHERE)
        charts.run(plane, *documented("upgrade.md", "helm rollback"))
        rolled_out(plane)
        ended(newer)
    _back(plane, past, audit)
    charts.run(plane, *documented("upgrade.md", "helm upgrade"))
    rolled_out(plane)
    _forth_again(plane, audit)
    _uninstall(plane)


def test_a_clone_without_the_commit_is_told_so() -> None:
    with pytest.raises(RuntimeError, match=r"Commit 0{40} cannot be unpacked.*git fetch --unshallow"):
        Past("0" * 40).__enter__()


def ended(operator: OperatorProcess) -> None:
    assert operator.stop() == 0, operator.tail()


def _make_servers(api: Api) -> None:
    quantizing.make_claim(api, WHERE)
    support.put(api, quantizing.quantization(WHERE))
    for name in SERVERS:
        put(api, name)
    wait_ready(api, SERVERS.keys() - {"paused"})
    support.wait_serving(api, WHERE, "paused")
    put(api, "paused", paused=True)


def _upgrade_the_chart(plane: ControlPlane, audit: Audit, older: OperatorProcess) -> None:
    wait_ready(plane.api, SERVERS)
    support.wait_at_rest(audit, older, WHERE)
    mark, before = audit.mark(), pods(plane.api)
    charts.kubectl(plane, *documented("upgrade.md", "-f charts/vllm-operator/crds/"))
    charts.run(plane, *documented("upgrade.md", "helm upgrade"), *as_words(NEWER))
    rolled_out(plane)
    (container,) = charts.deployment(plane)["spec"]["template"]["spec"]["containers"]
    environment = {each["name"]: each.get("value") for each in container["env"]}
    assert environment["VLLM_OPERATOR_WORKERS"] == "8", "what was set is kept"
    assert environment["VLLM_OPERATOR_VERIFY"] == "true", "what is new has its default"
    assert not written(audit, older, mark)
    assert pods(plane.api) == before


def _no_pod_rolls(plane: ControlPlane, audit: Audit) -> None:
    api = plane.api
    mark, before, claimed, since = audit.mark(), pods(api), claims(api), wait_ready(api, SERVERS)
    with charts.operator(plane) as newer:
        # Nothing routes a Service here: what serves was looked at when it is called out of reach.
        for name in SERVERS.keys() - {"suspended"}:
            support.wait_condition(api, WHERE, name, "Unreachable", "Unknown", kind="Verified")
        told = written(audit, newer, mark)
        ended(newer)
    assert pods(api) == before
    assert wait_ready(api, SERVERS) == since, "none was unready for a moment"
    relabelled = {f"{name}-cache" for name in SERVERS.keys() - {"goes-whole", "paused", "calibrated"}}
    assert len(relabelled) == RELABELLED
    for name, claim in claims(api).items():
        if name in relabelled:
            del claimed[name]["labels"][INSTANCE]
        assert claim == claimed[name]
    assert told.pop(("patch", "persistentvolumeclaims")) == RELABELLED
    assert told.keys() == {("patch", "vllmservers/status"), ("create", "events")}


def _what_is_offered_is_what_a_refresh_takes(plane: ControlPlane) -> None:
    api, refreshed = plane.api, SERVERS.keys() - NOT_REFRESHED
    told = charts.kubectl(plane, *documented("upgrade.md", "REFRESH:"))
    offers = {name: refresh for _, name, refresh in map(str.split, told.splitlines()[1:])}
    assert offers == {name: str(name in ON_DEFAULT_IMAGE).lower() for name in SERVERS}
    before = {name: template(api, name) for name in refreshed}
    for name in refreshed:
        patched(plane, "rollout", name)
    wait_ready(api, refreshed)
    assert {name for name in refreshed if template(api, name) != before[name]} == ON_DEFAULT_IMAGE & refreshed
    for name in refreshed:
        (container,) = template(api, name)["spec"]["containers"]
        assert (container["image"] == NEWER_IMAGE) is (name in ON_DEFAULT_IMAGE)
        assert support.child(api, WHERE, "VLLMServer", name)["status"]["refreshAvailable"] is False


def _use_what_is_new(plane: ControlPlane) -> None:
    api = plane.api
    api.create(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "callers", "namespace": WHERE},
            "stringData": {"VLLM_API_KEY": "sesame"},
        }
    )
    support.put(api, quantizing.quantization(WHERE, isolated=True))
    put(api, "several", **OTHERS_THAT_ARE_NEW)
    for name in ("asks", "held"):
        put(api, name, **KEY)
    wait_ready(api, {"several", "asks", "held"})
    support.wait_condition(api, WHERE, "several", "Serving", "True", kind="MicroserviceReady")
    told = charts.kubectl(plane, *documented("upgrade.md", "KEY:"))
    users = {name for _, name, secret in map(str.split, told.splitlines()[1:]) if secret == "callers"}
    assert users == {"asks", "held"}
    patched(plane, "paused", "held")
    support.wait_condition(api, WHERE, "held", "Paused", "True")


def _back(plane: ControlPlane, past: Past, audit: Audit) -> None:
    """The older operator leaves all as it is but the one thing that docs/upgrade.md warns of."""
    api, others = plane.api, SERVERS.keys()
    mark, before, since = audit.mark(), pods(api, but={"asks"}), wait_ready(api, others)
    assert "VLLM_API_KEY" in variables(api, "asks")
    with charts.operator(plane, past.source) as older:
        api.wait_for(lambda: "VLLM_API_KEY" not in variables(api, "asks"), message="asks rolls", timeout=60)
        told = written(audit, older, mark, but="asks")
        assert support.wait_stalled(api, WHERE, "held", "Paused", words="Deployment held. Resume")
        assert wait_ready(api, {"asks", *others}).items() >= since.items()
        ended(older)
    assert pods(api, but={"asks"}) == before
    assert told.pop(("patch", "persistentvolumeclaims")) == RELABELLED
    # Of a microservice it knows nothing: its record and its budget look like leftovers of the server's own.
    assert told.pop(("delete", "controllerrevisions")) == 1
    assert told.pop(("delete", "poddisruptionbudgets")) == 1
    assert told.keys() == {("patch", "vllmservers/status"), ("create", "events")}
    for kind, name in (("NetworkPolicy", "several"), ("Service", "several-llm")):
        support.child(api, WHERE, kind, name)
    assert api.get("PodDisruptionBudget", WHERE, "several-llm") is None


def _forth_again(plane: ControlPlane, audit: Audit) -> None:
    api = plane.api
    mark, before = audit.mark(), pods(api, but={"asks"})
    with charts.operator(plane) as newer:
        api.wait_for(lambda: "VLLM_API_KEY" in variables(api, "asks"), message="asks rolls", timeout=60)
        put(api, "paused", paused=False)
        told = written(audit, newer, mark, but="asks")
        support.wait_condition(api, WHERE, "held", "Paused", "True")
        support.wait_serving(api, WHERE, "paused")
        wait_ready(api, {"asks", *SERVERS} - {"paused"})
        ended(newer)
    assert pods(api, but={"asks"}) == before
    assert told.pop(("patch", "persistentvolumeclaims")) == RELABELLED + 1, "that of the resumed server too"
    assert told.pop(("patch", "controllerrevisions")) == 1
    assert told.pop(("patch", "poddisruptionbudgets")) == 1
    assert told.keys() == {("patch", "vllmservers/status"), ("create", "events")}
    support.child(api, WHERE, "PodDisruptionBudget", "several-llm")


def _uninstall(plane: ControlPlane) -> None:
    """Without an operator all serves on, and Kubernetes takes away what is deleted."""
    api = plane.api
    before, kept = pods(api), claims(api).keys() - {"goes-whole-cache"}
    charts.run(plane, *documented("uninstall.md", "helm uninstall"), "--wait")
    assert api.get("Deployment", RELEASE, RELEASE) is None
    assert pods(api) == before
    # It waits until they are gone.
    charts.kubectl(plane, *documented("uninstall.md", "kubectl delete vllm,fp8q"))
    # The garbage collector looks for new kinds every 30 s only, as in test_chart.py.
    api.wait_for(lambda: not left(api), timeout=90, message="children are collected")
    api.wait_gone("PersistentVolumeClaim", WHERE, "goes-whole-cache")
    assert claims(api).keys() == kept
    told = charts.kubectl(plane, *documented("uninstall.md", "kubectl get pvc"), "-o=name")
    assert {line.split("/")[1] for line in told.split()} == kept - {quantizing.CLAIM}


def left(api: Api) -> list[str]:
    """What there is of servers and quantizations beside their claims."""
    kinds = ("Deployment", "ReplicaSet", "Pod", "Job", "Service", "ConfigMap", "ControllerRevision")
    more = ("ServiceAccount", "PodDisruptionBudget", "NetworkPolicy")
    labels = "app.kubernetes.io/managed-by=vllm-operator"
    return [
        f"{kind} {each['metadata']['name']}"
        for kind in (*kinds, *more)
        for each in api.list(kind, WHERE, labels=labels if kind != "Pod" else "")
    ]

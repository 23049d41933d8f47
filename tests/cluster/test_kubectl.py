"""kubectl as a reader of the docs uses it, on samples as they stand in the repository."""

import re
import shlex
from pathlib import Path

import pytest
import yaml

from tests.cluster import support
from tests.cluster.kubectl import attempt, kubectl
from tests.cluster.pool import Pool
from tests.harness.api import Api, Object
from tests.harness.binaries import REPOSITORY
from tests.harness.operator import Cluster, OperatorProcess

FOLDER = REPOSITORY / "manifests" / "samples"
SAMPLES = sorted(FOLDER.glob("*.yaml"))
CPU = FOLDER / "cpu.yaml"
TERMS = "requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms.matchExpressions"


@pytest.fixture
def serving(cluster: Cluster, api: Api, namespace: str, shared: OperatorProcess) -> None:
    kubectl(cluster, namespace, "apply", "-f", str(CPU))
    support.wait_serving(api, namespace)


def uids(api: Api, namespace: str) -> set[str]:
    return {pod["metadata"]["uid"] for pod in api.list("Pod", namespace)}


def claims_to_fill() -> dict[str, Object]:
    """Claims that the page on FP8 has its readers make first, and fill."""
    page = (REPOSITORY / "docs" / "tasks" / "fp8.md").read_text()
    texts = re.findall(
        r"<<'END'\n(    apiVersion: v1\n    kind: PersistentVolumeClaim\n.*?)    END\n", page, re.S
    )
    found = [yaml.safe_load(text) for text in texts]
    return {each["metadata"]["name"]: each for each in found}


@pytest.mark.usefixtures("shared")
@pytest.mark.parametrize("sample", SAMPLES, ids=lambda path: path.stem)
def test_every_sample_comes_to_serve(
    cluster: Cluster, api: Api, namespace: str, pool: Pool, sample: Path
) -> None:
    pool.add_node(cpus=160, memory="1Ti")  # as large as servers with eight cards are
    for name, claim in claims_to_fill().items():
        if f"claimName: {name}\n" in sample.read_text():
            api.apply(claim | {"metadata": {"name": name, "namespace": namespace}})
    for line in re.findall(r"^# +kubectl (.+)$", sample.read_text(), re.MULTILINE):
        kubectl(cluster, namespace, *shlex.split(line))
    kubectl(cluster, namespace, "apply", "-f", str(sample))
    (name,) = kubectl(cluster, namespace, "get", "vllm", "-o", "name").split()
    waited = kubectl(cluster, namespace, "wait", "--for=condition=Ready", "--timeout=90s", name)
    assert waited == f"{name} condition met\n"


@pytest.mark.parametrize("side", [(), ("--server-side",)], ids=["client side", "server side"])
def test_an_apply_leaves_no_difference(
    cluster: Cluster, api: Api, namespace: str, shared: OperatorProcess, side: tuple[str, ...]
) -> None:
    """Neither defaults nor the operator change what the author has written."""
    kubectl(cluster, namespace, "apply", *side, "-f", str(CPU))
    support.wait_serving(api, namespace)
    assert kubectl(cluster, namespace, "diff", *side, "-f", str(CPU)) == ""
    again = kubectl(cluster, namespace, "apply", *side, "-f", str(CPU))
    assert again.split()[1] == ("serverside-applied" if side else "unchanged")


def test_get_shows_what_matters(cluster: Cluster, namespace: str, serving: None) -> None:
    header, row = kubectl(cluster, namespace, "get", "vllm", "-o", "wide").splitlines()
    *columns, microservice, warmup, done, of = header.split()
    empty = [microservice, warmup, done, of]
    assert empty == ["MICROSERVICE", "WARM-UP", "DONE", "OF"], "empty where there is none, and nothing starts"
    shown = dict(zip(columns, row.split(), strict=True))
    assert shown.pop("AGE")
    assert shown == {
        "NAME": "chat",
        "MODEL": "Qwen/Qwen2.5-0.5B-Instruct",
        "DEVICE": "cpu",
        "PRECISION": "bf16",
        "READY": "True",
        "REPLICAS": "1",
        "URL": f"http://chat.{namespace}.svc:8008",
        "REASON": "Serving",
        "IMAGE": "docker.io/vllm/vllm-openai-cpu:v0.32.0-x86_64",
    }
    header, row = kubectl(cluster, namespace, "get", "vllm").splitlines()
    assert header.split() == ["NAME", "MODEL", "DEVICE", "PRECISION", "READY", "REPLICAS", "URL", "AGE"]


def test_describe_tells_conditions_and_events(cluster: Cluster, namespace: str, serving: None) -> None:
    text = kubectl(cluster, namespace, "describe", "vllm", "chat")
    status, _, events = text.partition("\nEvents:\n")
    message = rf"http://chat\.{namespace}\.svc:8008/v1"
    assert re.search(rf"Message: +Serves at {message}\n.*\n +Reason: +Serving\n +Status: +True", status)
    assert re.search(rf"Normal +Serving .* vllm-operator\.dev +Serves at {message}", events)


@pytest.mark.parametrize(
    ("field", "words"),
    [
        ("cache", ("Where the weights are kept.", "claimName\t<string>", "enum: Retain, Delete")),
        ("rollout.refresh", ("FIELD: refresh <string>", "status.refreshAvailable")),
        ("affinity", ("FIELD: affinity <Object>", "core/v1 Affinity", "podAntiAffinity\t<Object>")),
        (
            f"affinity.nodeAffinity.{TERMS}",
            ("FIELD: matchExpressions <[]Object>", "operator\t<string> -required-"),
        ),
    ],
)
def test_explain(cluster: Cluster, namespace: str, field: str, words: tuple[str, ...]) -> None:
    text = kubectl(cluster, namespace, "explain", f"vllm.spec.{field}")
    for each in words:
        assert each in re.sub(r"\n    (?=\S)", " ", text), text


def test_scale(cluster: Cluster, api: Api, namespace: str, serving: None) -> None:
    before = uids(api, namespace)
    kubectl(cluster, namespace, "scale", "vllm/chat", "--replicas=2")
    two = "--for=jsonpath={.status.readyReplicas}=2"
    kubectl(cluster, namespace, "wait", two, "--timeout=60s", "vllm/chat")
    assert before < uids(api, namespace)
    made = kubectl(
        cluster,
        namespace,
        *("get", "deploy,svc,pvc,pdb,sa,controllerrevisions", "-o", "name"),
        *("-l", "vllm-operator.dev/server=chat"),
    )
    assert {line.partition("/")[0].partition(".")[0] for line in made.split()} == {
        *("deployment", "service", "persistentvolumeclaim", "poddisruptionbudget", "serviceaccount"),
        "controllerrevision",
    }


def test_rollout_restart(cluster: Cluster, api: Api, namespace: str, serving: None) -> None:
    before = uids(api, namespace)
    kubectl(cluster, namespace, "rollout", "restart", "deployment/chat")
    status = kubectl(cluster, namespace, "rollout", "status", "deployment/chat", "--timeout=60s")
    assert status.endswith('deployment "chat" successfully rolled out\n')
    support.wait_serving(api, namespace)
    assert not before & uids(api, namespace), "the restart was not undone, and has renewed the pod"


def test_delete_leaves_the_cache(cluster: Cluster, api: Api, namespace: str, serving: None) -> None:
    kubectl(cluster, namespace, "delete", "--timeout=60s", "-f", str(CPU))
    api.wait_for(
        lambda: set(support.children(api, namespace)) == {("PersistentVolumeClaim", "chat-cache")},
        timeout=60,
        message="all but the claim goes",
    )
    api.wait_for(lambda: not api.list("Pod", namespace), timeout=60, message="the pods go")


def test_a_field_that_does_not_exist_is_named(
    cluster: Cluster, api: Api, namespace: str, tmp_path: Path
) -> None:
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(CPU.read_text().replace("maxModelLen:", "maxModelLength:"))
    first = attempt(cluster, namespace, "apply", "-f", str(wrong))
    assert 'strict decoding error: unknown field "spec.engineArgs.maxModelLength"' in first.stderr
    assert api.get("VLLMServer", namespace, "chat") is None
    kubectl(cluster, namespace, "apply", "-f", str(CPU))
    for side in ((), ("--server-side", "--force-conflicts")):
        later = attempt(cluster, namespace, "apply", *side, "-f", str(wrong))
        assert later.returncode == 1
        assert "spec.engineArgs.maxModelLength" in later.stderr
    kept = support.child(api, namespace, "VLLMServer", "chat")
    assert kept["spec"]["engineArgs"]["maxModelLen"] == 4096

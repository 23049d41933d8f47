"""kubeconform takes all that is rendered, by the API server's own schemas."""

import subprocess

import pytest

from tests.harness.api import Api
from tests.harness.binaries import REPOSITORY, find_binary
from tests.harness.helm import Values, template
from tests.harness.operator import Cluster
from tests.harness.schemas import write_schemas
from vllm_operator.api.kinds import PLURALS
from vllm_operator.api.meta import API_VERSION

EVERYTHING = REPOSITORY / "tests" / "chart" / "everything.yaml"
# Kinds of the Prometheus Operator, which this API server does not know.
FOREIGN = "PodMonitor,PrometheusRule,ServiceMonitor"


@pytest.fixture(scope="module")
def location(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Where kubeconform finds the schemas of everything that the API server knows."""
    # The API server publishes the schemas of CRDs a moment after it serves them.
    cluster.api.wait_for(lambda: _published(cluster.api), message="the schemas of the CRDs are published")
    return write_schemas(cluster.api, tmp_path_factory.mktemp("schemas"))


def _published(api: Api) -> bool:
    path = api.request("GET", "/openapi/v3")["paths"].get(f"apis/{API_VERSION}")
    schemas = path and api.request("GET", path["serverRelativeURL"])["components"]["schemas"]
    return bool(schemas) and all(any(name.endswith(f".{kind}") for name in schemas) for kind in PLURALS)


def kubeconform(location: str, *words: str, text: str | None = None) -> subprocess.CompletedProcess[str]:
    command = [find_binary("kubeconform"), "-strict", "-summary", "-schema-location", location, *words]
    return subprocess.run(command, input=text, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.parametrize(
    ("values", "words"),
    [({}, []), ({"watchNamespaces": ["a", "b"]}, []), ({}, ["--values", str(EVERYTHING)])],
    ids=["default", "namespaced", "everything"],
)
def test_the_chart(location: str, values: Values, words: list[str]) -> None:
    rendered = template(values, *words, "--include-crds").stdout
    done = kubeconform(location, "-skip", FOREIGN, text=rendered)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Invalid: 0, Errors: 0" in done.stdout
    assert "Valid: 0" not in done.stdout


@pytest.mark.parametrize("part", ["manifests/install.yaml", "manifests/samples", "tests/golden"])
def test_files(location: str, part: str) -> None:
    words = ("-skip", FOREIGN, "-ignore-filename-pattern", "CR.yaml")
    done = kubeconform(location, *words, str(REPOSITORY / part))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Invalid: 0, Errors: 0" in done.stdout
    assert "Valid: 0" not in done.stdout


def test_a_field_that_there_is_not_is_found(location: str, api: Api) -> None:
    rendered = template({}).stdout
    for right, wrong in (
        ("automountServiceAccountToken", "automountToken"),
        ("maxUnavailable: 1", "maxUnavailable: []"),
    ):
        assert right in rendered
        done = kubeconform(location, text=rendered.replace(right, wrong))
        assert done.returncode != 0
        assert "Invalid: 0" not in done.stdout

"""install.yaml and the kustomizations hold what the chart renders, no more and no less."""

import re
import shutil
import subprocess
import textwrap
from pathlib import Path

import pytest
import yaml

from tests.harness.api import Object
from tests.harness.binaries import REPOSITORY, find_binary
from tests.harness.helm import CHART, Values, helm, only, render
from vllm_operator.api.schema import crds
from vllm_operator.generate.files import generated
from vllm_operator.generate.installs import HelmError, installs

MANIFESTS = REPOSITORY / "manifests"
RESTRICTED = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "audit", "warn")}
INSTALLS = installs(REPOSITORY)
REPLACEMENTS = "manifests/base/microservice-image.yaml"
WORDS = ("--skip-tests", "--include-crds")

Key = tuple[str, str, str]


def by_key(objects: list[Object]) -> dict[Key, Object]:
    found = {
        (each["kind"], each["metadata"].get("namespace", ""), each["metadata"]["name"]): each
        for each in objects
    }
    assert len(found) == len(objects)
    return found


def without_namespace(objects: list[Object]) -> dict[Key, Object]:
    found = by_key(objects)
    namespace = found.pop(("Namespace", "", "vllm-operator"))
    assert namespace["metadata"]["labels"] == RESTRICTED
    return found


def documents(file: Path) -> list[Object]:
    return [each for each in yaml.safe_load_all(file.read_text()) if each]


def kustomize(folder: Path) -> list[Object]:
    command = [find_binary("kubectl"), "kustomize", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return list(yaml.safe_load_all(done.stdout))


@pytest.mark.parametrize("name", sorted(INSTALLS))
def test_rendered_files_are_as_rendered(name: str) -> None:
    assert (REPOSITORY / name).read_text() == INSTALLS[name], "run `make generate`"


def test_install_yaml_is_the_chart() -> None:
    objects = documents(MANIFESTS / "install.yaml")
    assert without_namespace(objects) == by_key(render({}, *WORDS))
    kinds = [each["kind"] for each in objects]
    assert kinds[:3] == ["Namespace", "CustomResourceDefinition", "CustomResourceDefinition"]


@pytest.mark.parametrize(
    ("overlay", "values"), [("cluster-wide", {}), ("namespaced", {"watchNamespaces": ["models"]})]
)
def test_overlays_are_the_chart(overlay: str, values: Values) -> None:
    made = without_namespace(kustomize(MANIFESTS / "overlays" / overlay))
    rendered = by_key(render(values, *WORDS))
    for objects in (made, rendered):
        container = objects["Deployment", "vllm-operator", "vllm-operator"]["spec"]["template"]["spec"]
        container["containers"][0]["env"].sort(key=lambda each: each["name"])
    assert made == rendered


def test_the_kustomization_of_the_page_names_one_image_for_all(tmp_path: Path) -> None:
    """docs/install.md, word for word: a clone lies beside the file."""
    page = (REPOSITORY / "docs" / "install.md").read_text()
    (block,) = re.findall(r"^    resources:\n(?:    .+\n)+", page, re.M)
    (tmp_path / "kustomization.yaml").write_text(textwrap.dedent(block))
    shutil.copytree(MANIFESTS, tmp_path / "vllm-operator" / "manifests")
    container = only(kustomize(tmp_path), "Deployment")["spec"]["template"]["spec"]["containers"][0]
    env = {each["name"]: each.get("value") for each in container["env"]}
    assert container["image"] == "registry.example.com/vllm-operator:0.1.0"
    assert env["VLLM_OPERATOR_MICROSERVICE_IMAGE"] == container["image"]


def test_folders_hold_nothing_else() -> None:
    kustomizations = {"manifests/base", "manifests/overlays/cluster-wide", "manifests/overlays/namespaced"}
    expected = {*INSTALLS, *(f"{folder}/kustomization.yaml" for folder in kustomizations), REPLACEMENTS}
    found = {
        str(file.relative_to(REPOSITORY))
        for folder in kustomizations
        for file in (REPOSITORY / folder).iterdir()
    }
    assert found == expected - {"manifests/install.yaml"}


@pytest.mark.parametrize("file", sorted((REPOSITORY / "crds").glob("*.yaml")), ids=lambda file: file.name)
def test_the_charts_crds_are_the_repositorys(file: Path) -> None:
    assert (CHART / "crds" / file.name).read_text() == file.read_text()


def test_helm_shows_the_crds_as_kubectl_takes_them() -> None:
    """As docs/upgrade.md and the notes say for a chart of a registry."""
    done = helm("show", "crds", str(CHART))
    assert (done.returncode, done.stderr) == (0, "")
    assert by_key(list(yaml.safe_load_all(done.stdout))) == by_key(crds())


def test_without_helm_one_is_told_how_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(HelmError, match="run `make tools`"):
        installs(tmp_path)


def test_what_helm_says_of_a_broken_chart_is_told(tmp_path: Path) -> None:
    (tmp_path / ".tools").symlink_to(REPOSITORY / ".tools")
    (tmp_path / "charts").mkdir()
    with pytest.raises(HelmError, match="charts/vllm-operator"):
        installs(tmp_path)


def test_all_that_is_generated_for_the_chart_is_there() -> None:
    names = {name for name in generated() if name.startswith("charts/")}
    templates = {f"charts/vllm-operator/{name}" for name in ("files/test.py",)}
    written = {
        str(file.relative_to(REPOSITORY))
        for file in CHART.rglob("*")
        if file.is_file() and not {"templates", "dashboards", "__pycache__"} & set(file.parts)
    }
    assert written - templates - {"charts/vllm-operator/alerts.yaml"} == names

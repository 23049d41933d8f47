"""CR.yaml in, children.yaml out: what `vllm-operator render` makes of each folder beside this file."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from vllm_operator.__main__ import main
from vllm_operator.config import Settings
from vllm_operator.desired.names import COMPONENT, MICROSERVICE
from vllm_operator.desired.records import renderer
from vllm_operator.generate import dump

HERE = Path(__file__).parent
PROGRAM = HERE.parents[1] / "operator" / "vllm_operator" / "podscripts"
SAMPLES = HERE.parents[1] / "manifests" / "samples"
DEFAULTS = Settings.read({}).defaults
CASES = sorted(path.parent.name for path in HERE.glob("*/CR.yaml"))


def render(file: Path) -> str:
    result = CliRunner().invoke(main, ["render", "--programs", str(file)], env={}, catch_exceptions=False)
    assert result.exit_code == 0, result.stderr
    made = list(yaml.safe_load_all(result.stdout))
    for child in made:
        if child["kind"] == "ConfigMap":
            assert child["data"] == {name: (PROGRAM / name).read_text() for name in child["data"]}
            child["data"] = {name: f"(podscripts/{name})" for name in sorted(child["data"])}
        if "template" in child.get("data", {}):
            # Which code has rendered it changes with every edit of that, whatever it renders.
            assert child["data"]["renderer"] == renderer(DEFAULTS)
            child["data"]["renderer"] = "(renderer)"
        for container in first_containers(child):
            # That it comes out as it is, tests/unit/test_fp8_pods.py says.
            container["command"][2] = "(podscripts/verify.py)"
    return dump(made)


def first_containers(child: dict[str, Any]) -> list[dict[str, Any]]:
    """The containers of a Deployment, or of a server's record, that come before vLLM."""
    template = child.get("data", {}).get("template") or child.get("spec", {}).get("template") or {}
    found: list[dict[str, Any]] = template.get("spec", {}).get("initContainers", [])
    return found


@pytest.mark.parametrize("case", CASES)
def test_children_are_as_recorded(case: str, request: pytest.FixtureRequest) -> None:
    rendered = render(HERE / case / "CR.yaml")
    expected = HERE / case / "children.yaml"
    if request.config.getoption("--update-golden"):
        expected.write_text(rendered)
    assert rendered == expected.read_text()


@pytest.mark.parametrize("sample", sorted(path.name for path in SAMPLES.glob("*.yaml")))
def test_every_sample_is_a_case(sample: str, request: pytest.FixtureRequest) -> None:
    case = HERE / f"sample-{Path(sample).stem}" / "CR.yaml"
    if request.config.getoption("--update-golden"):
        case.parent.mkdir(exist_ok=True)
        shutil.copyfile(SAMPLES / sample, case)
    assert case.read_text() == (SAMPLES / sample).read_text()


def test_folders_are_all_complete() -> None:
    folders = sorted(path.name for path in HERE.iterdir() if path.is_dir() and path.name != "__pycache__")
    assert folders == CASES
    assert all((HERE / case / "children.yaml").exists() for case in CASES)


@pytest.mark.parametrize("case", CASES)
def test_records_hold_the_template_that_the_deployment_has(case: str) -> None:
    children = load(case)
    recorded = [child["data"]["template"] for child in children if "template" in child.get("data", {})]
    deployed = [child["spec"]["template"] for child in children if child["kind"] == "Deployment"]
    assert recorded == deployed
    # What makes the server's pods comes after all that they need.
    rest = children[children.index(deployment(children)) + 1 :]
    of_server = [child for child in rest if child["metadata"]["labels"][COMPONENT] != MICROSERVICE]
    assert {child["kind"] for child in of_server} <= {"HorizontalPodAutoscaler", "PodMonitor"}


@pytest.mark.parametrize("case", CASES)
def test_no_text_of_the_resource_is_lost(case: str) -> None:
    """Arguments and values come out as they stood, but for `$`, which the kubelet would expand."""
    (spec,) = (each["spec"] for each in documents(HERE / case / "CR.yaml") if each["kind"] == "VLLMServer")
    container = deployment(load(case))["spec"]["template"]["spec"]["containers"][0]
    words = [word.replace("$$", "$") for word in container["args"]]
    given = spec.get("extraArgs", [])
    assert words[len(words) - len(given) :] == given
    served = spec["model"].get("servedNames", [spec["model"]["name"]])
    assert words[: 2 + len(served)] == [spec["model"]["name"], "--served-model-name", *served]
    values = {entry["name"]: entry.get("value") for entry in container["env"]}
    for variable in spec.get("extraEnv", []):
        value = values[variable["name"]]
        assert (value.replace("$$", "$") if value else value) == variable.get("value")


def deployment(children: list[dict[str, Any]]) -> dict[str, Any]:
    """The server's own."""
    return next(child for child in children if child["kind"] == "Deployment")


def load(case: str) -> list[dict[str, Any]]:
    return documents(HERE / case / "children.yaml")


def documents(file: Path) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(file.read_text()))

"""The command line, as a user meets it."""

import hashlib
import re
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from vllm_operator import __version__
from vllm_operator.__main__ import main
from vllm_operator.api.schema import crds
from vllm_operator.config import DEFAULT_IMAGES, InvalidSettingError, Settings
from vllm_operator.generate import dump

SAMPLES = Path(__file__).parents[2] / "manifests" / "samples"
GOOD = """
apiVersion: vllm-operator.dev/v1alpha1
kind: VLLMServer
metadata: {name: NAME}
spec: {model: {name: gpt2}, device: cpu, cache: {size: 5Gi}}
"""


def cli(*words: str | Path, **environment: str) -> Result:
    result = CliRunner().invoke(main, [str(word) for word in words], env=environment)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def written(folder: Path, text: str, name: str = "a.yaml") -> Path:
    file = folder / name
    file.write_bytes(text.encode())
    return file


def names(result: Result) -> list[str]:
    return [
        f"{child['kind']} {child['metadata']['name']}"
        for child in yaml.safe_load_all(result.stdout)
        if child["kind"] == "Deployment"
    ]


def test_several_files_and_documents(tmp_path: Path) -> None:
    one = written(tmp_path, "---\n".join(GOOD.replace("NAME", name) for name in "ab") + "---\n---\n")
    two = written(tmp_path, GOOD.replace("NAME", "c"), "b.yaml")
    result = cli("render", one, two)
    assert result.exit_code == 0
    assert names(result) == ["Deployment a", "Deployment b", "Deployment c"]
    assert result.stderr == ""


def test_the_program_of_the_prefetch_can_be_read_and_is_what_it_was(tmp_path: Path) -> None:
    result = cli("render", "--programs", written(tmp_path, GOOD.replace("NAME", "a")))
    program = (files("vllm_operator") / "podscripts" / "prefetch.py").read_text()
    (data,) = (each["data"] for each in yaml.safe_load_all(result.stdout) if each["kind"] == "ConfigMap")
    assert data["prefetch.py"] == program
    assert "\n    import os\n" in result.stdout


def differences(one: Any, other: Any) -> Iterator[tuple[str, str]]:
    """Texts that stand in the same place of both and differ; all else is the same."""
    if isinstance(one, dict):
        assert one.keys() == other.keys()
        for key, value in one.items():
            yield from differences(value, other[key])
    elif isinstance(one, list):
        for value, its in zip(one, other, strict=True):
            yield from differences(value, its)
    elif one != other:
        yield one, other


def test_a_line_stands_for_each_program_unless_they_are_asked_for() -> None:
    sample = SAMPLES / "fp8-llama-70b.yaml"
    short, full = cli("render", sample), cli("render", sample, "--programs")
    assert len(short.stdout.splitlines()) * 5 < len(full.stdout.splitlines())
    told = list(differences(*(list(yaml.safe_load_all(result.stdout)) for result in (short, full))))
    folder = files("vllm_operator") / "podscripts"
    for line, text in told:
        found = re.fullmatch(r"\((\w+[.]py): (\d+) bytes, sha256 ([0-9a-f]{64})\)", line)
        assert found, line
        data = (folder / found[1]).read_bytes()
        assert (len(data), hashlib.sha256(data).hexdigest()) == (int(found[2]), found[3])
        assert text.replace("$$", "$") == data.decode()
    # Each in a ConfigMap, but for the one that stands in the server's pods, and so in its record too.
    names_ = [line.partition(":")[0].strip("(") for line, _ in told]
    assert {"prefetch.py", "calibrate.py", "__init__.py"} <= set(names_)
    assert names_.count("verify.py") == 2
    assert max(map(len, short.stdout.splitlines())) < 500


@given(st.text(alphabet=" \n\t\r-:#|>'\"{}ab&*\x85\u2028\u2029", max_size=12))
def test_any_text_comes_back_from_what_is_printed(text: str) -> None:
    objects = [{"metadata": {"annotations": {text or "a": text}}}]
    assert list(yaml.safe_load_all(dump(objects))) == objects


@pytest.mark.parametrize(
    "text", ["y", "N", "12e4567890", "1.5e3", ".5E-2", "-7e1", "0o17", "no", "1", "0x1f"]
)
def test_what_kubectl_would_take_for_another_type_is_in_quotes(text: str) -> None:
    """To PyYAML these are texts, to kubectl numbers and booleans; a record's digest may look like one."""
    assert dump([{"a": text}]) in (f'---\na: "{text}"\n', f"---\na: '{text}'\n")


def test_objects_of_other_kinds_are_left_out_with_a_note(tmp_path: Path) -> None:
    other = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: b}\n"
    result = cli("render", written(tmp_path, other + "---" + GOOD.replace("NAME", "a")))
    assert (result.exit_code, names(result)) == (0, ["Deployment a"])
    assert result.stderr == f"{tmp_path}/a.yaml: ConfigMap b is not of the operator's kinds: left out\n"


QUANTIZATION = """
apiVersion: vllm-operator.dev/v1alpha1
kind: FP8Quantization
metadata: {name: q}
spec:
  model: {name: org/Model, trustRemoteCode: true}
  cache: {claimName: weights}
  dataset: {url: {url: "https://example.com/a.pkl", sha256: SHA}}
"""
IN_FP8 = """
apiVersion: vllm-operator.dev/v1alpha1
kind: VLLMServer
metadata: {name: a}
spec:
  model: {name: org/Model}
  device: gaudi
  cache: {claimName: weights}
  fp8: {quantizationRef: {name: q}}
"""
SHA = "ab" * 32


def shown(result: Result, kind: str) -> list[dict[str, Any]]:
    assert result.exit_code == 0, result.stderr
    return [each for each in yaml.safe_load_all(result.stdout) if each["kind"] == kind]


def arguments(job: dict[str, Any]) -> list[str]:
    found: list[str] = job["spec"]["template"]["spec"]["containers"][0]["args"]
    return found


def test_a_quantization_is_shown_with_both_its_jobs(tmp_path: Path) -> None:
    result = cli("render", written(tmp_path, QUANTIZATION.replace("SHA", SHA)), "--commit", "c" * 40)
    fetching, measuring = shown(result, "Job")
    assert SHA in arguments(fetching)
    assert f"/data/hub/models--org--Model/snapshots/{'c' * 40}" in arguments(measuring)
    assert f"/data/datasets/{SHA}.pkl" in arguments(measuring)
    assert len(shown(result, "ConfigMap")) == 2
    assert result.stderr == ""


@pytest.mark.parametrize("first", ["server", "quantization"])
def test_a_server_is_shown_with_what_its_quantization_brings(tmp_path: Path, first: str) -> None:
    """Whatever stands first: an apply takes them in any order."""
    documents = [IN_FP8, QUANTIZATION.replace("SHA", SHA)]
    text = "---".join(documents if first == "server" else reversed(documents))
    result = cli("render", written(tmp_path, text))
    (deployment,) = shown(result, "Deployment")
    (job,) = (job for job in shown(result, "Job") if "--output" in arguments(job))
    output = arguments(job)[arguments(job).index("--output") + 1]
    variables = deployment["spec"]["template"]["spec"]["containers"][0]["env"]
    assert {"name": "QUANT_CONFIG", "value": f"{output}/model/maxabs_quant_g2.json"} in variables
    assert result.stderr == ""


@pytest.mark.parametrize(
    ("what", "by", "says"),
    [
        ("name: org/Model, trust", "name: org/Other, trust", "spec.model.name is 'org/Model'"),
        ("claimName: weights}\n  dataset", "claimName: other}\n  dataset", "spec.cache"),
        ("dataset:", "tensorParallelSize: 2\n  dataset:", "spec.tensorParallelSize is 1"),
    ],
)
def test_a_server_and_a_quantization_that_do_not_fit_are_a_problem(
    tmp_path: Path, what: str, by: str, says: str
) -> None:
    text = QUANTIZATION.replace("SHA", SHA)
    assert what in text
    result = cli("render", written(tmp_path, IN_FP8 + "---" + text.replace(what, by)))
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith(f"{tmp_path}/a.yaml: a: {says}")


def test_a_quantization_that_is_not_among_the_files_is_noted(tmp_path: Path) -> None:
    """It may be in the cluster; until then the server is shown as it serves without."""
    other = QUANTIZATION.replace("SHA", SHA).replace("name: q", "name: p")
    result = cli("render", written(tmp_path, IN_FP8 + "---" + other))
    (deployment,) = shown(result, "Deployment")
    assert "QUANT_CONFIG" not in str(deployment)
    says = "looked for in these files only: spec.fp8.quantizationRef: there is no FP8Quantization q"
    assert result.stderr.startswith(f"{tmp_path}/a.yaml: a: {says}")


def test_what_only_a_calibration_will_tell_is_no_problem(tmp_path: Path) -> None:
    """Which cards measure is not known; the stand-in says g2."""
    server = IN_FP8 + "  gaudi: {generation: g3}\n"
    text = server + "---" + QUANTIZATION.replace("SHA", SHA)
    nodes = {f"VLLM_OPERATOR_GAUDI_{each}_NODES": f"cards={each}" for each in ("G2", "G3")}
    result = cli("render", written(tmp_path, text), **nodes)
    assert len(shown(result, "Deployment")) == 1
    assert result.stderr.startswith(f"{tmp_path}/a.yaml: a: spec.gaudi.generation is g3")
    result = cli("render", written(tmp_path, text + "  gaudi: {generation: g2}\n"), **nodes)
    assert (result.exit_code, result.stdout) == (1, "")


@pytest.mark.parametrize(
    ("what", "by", "says"),
    [
        (SHA, "beef", "spec.dataset.url.sha256: "),
        (
            "dataset:",
            "engine: {family: vllm-gaudi, version: '0.1'}\n  image: own:1\n  dataset:",
            "no profile",
        ),
    ],
)
def test_of_a_quantization_that_is_wrong_only_that_is_told(
    tmp_path: Path, what: str, by: str, says: str
) -> None:
    """It is there, whatever is wrong with it: its server has nothing to say."""
    text = QUANTIZATION.replace("SHA", SHA).replace(what, by)
    result = cli("render", written(tmp_path, IN_FP8 + "---" + text))
    assert (result.exit_code, result.stdout) == (1, "")
    (line,) = result.stderr.splitlines()
    assert says in line


def test_a_quantization_of_another_namespace_is_another(tmp_path: Path) -> None:
    elsewhere = QUANTIZATION.replace("SHA", SHA).replace("name: q", "name: q, namespace: other")
    assert "namespace default" in cli("render", written(tmp_path, IN_FP8 + "---" + elsewhere)).stderr


def test_what_is_wrong_with_a_quantization_is_told_with_its_path(tmp_path: Path) -> None:
    result = cli("render", written(tmp_path, QUANTIZATION.replace("SHA", "beef")))
    assert (result.exit_code, result.stdout) == (1, "")
    assert f"{tmp_path}/a.yaml: spec.dataset.url.sha256: " in result.stderr
    engine = "{family: vllm-gaudi, version: '0.1'}"
    unknown = QUANTIZATION.replace("SHA", SHA) + f"  engine: {engine}\n  image: own:1\n"
    result = cli("render", written(tmp_path, unknown))
    assert (result.exit_code, result.stdout) == (1, "")
    assert "no profile for vllm-gaudi 0.1" in result.stderr


def test_nothing_is_printed_when_one_of_several_is_bad(tmp_path: Path) -> None:
    bad = GOOD.replace("NAME", "bad").replace("gpt2", "-x")
    result = cli("render", written(tmp_path, GOOD.replace("NAME", "a") + "---" + bad))
    assert (result.exit_code, result.stdout) == (1, "")
    assert f"{tmp_path}/a.yaml: spec.model.name: " in result.stderr


@pytest.mark.parametrize(
    ("what", "by", "says"),
    [
        ("size:", "sise:", "spec.cache.sise: is not a field of this resource; check the spelling"),
        ("device: cpu", "device: cpu, extra: 1", "spec.extra: is not a field of this resource"),
        ("spec:", "more: 1\nspec:", "more: is not a field of this resource"),
        ("VLLMServer", "VLLMServers", "kind: must be VLLMServer"),
        ("v1alpha1", "v1", "apiVersion: must be vllm-operator.dev/v1alpha1"),
        ("device: cpu", "replicas: 1", "spec.device: is required"),
        ("device: cpu", "device: cpu, replicas: -1", "spec.replicas: "),
        (
            "device: cpu",
            "device: cpu, extraArgs: [--port]",
            "spec.extraArgs[0]: the operator sets this flag itself",
        ),
        (
            "device: cpu",
            "device: cpu, extraArgs: [--prot]",
            "spec.extraArgs[0]: --prot is not a flag of vllm 0.32",
        ),
        (
            "device: cpu",
            "device: cpu, shmSize: 1.5.5",
            "spec.shmSize: must be a quantity that is not negative",
        ),
        ("device: cpu", "device: cpu, shmSize: [1]", "spec.shmSize: must be a quantity such as"),
        ("{name: NAME}", "{name: A}", "metadata.name: "),
        ("{name: NAME}", "{}", "metadata.name: "),
        ("{name: NAME}", "", "metadata.name: "),
        ("{name: NAME}", "x", "metadata: "),
        ("{name: NAME}", "{name: 1}", "metadata.name: "),
        ("{name: NAME}", "[{name: NAME}]", "metadata: must be an object"),
        ("{model: {name: gpt2}, device: cpu, cache: {size: 5Gi}}", "x", "spec: "),
        ("{model: {name: gpt2}, device: cpu, cache: {size: 5Gi}}", "[1]", "spec: "),
        ("{model: {name: gpt2}, device: cpu, cache: {size: 5Gi}}", "", "spec.model: is required"),
    ],
)
def test_what_is_wrong_is_told_with_its_path(tmp_path: Path, what: str, by: str, says: str) -> None:
    result = cli("render", written(tmp_path, GOOD.replace(what, by, 1).replace("NAME", "a")))
    assert (result.exit_code, result.stdout) == (1, "")
    assert f"a.yaml: {says}" in result.stderr


def test_an_image_that_is_not_allowed_is_a_problem(tmp_path: Path) -> None:
    own = "image: quay.io/own:v1, engine: {family: vllm, version: '0.32'}, device: cpu"
    file = written(tmp_path, GOOD.replace("NAME", "a").replace("device: cpu", own))
    assert cli("render", file).exit_code == 0
    result = cli("render", file, VLLM_OPERATOR_ALLOWED_IMAGES="docker.io/vllm/, vault.habana.ai")
    assert result.exit_code == 1
    assert "spec.image: quay.io/own:v1 is not allowed" in result.stderr
    assert "docker.io/vllm, vault.habana.ai" in result.stderr
    result = cli("render", file, VLLM_OPERATOR_ALLOWED_IMAGES="quay.io")
    assert "VLLM_OPERATOR_CPU_IMAGE: docker.io/vllm" in result.stderr


def test_every_problem_is_told(tmp_path: Path) -> None:
    text = GOOD.replace("NAME", "A").replace("cpu", "gpu").replace("size", "sise")
    told = cli("render", written(tmp_path, text)).stderr
    for field in ("metadata.name", "spec.device", "spec.cache.sise"):
        assert f"{field}: " in told


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a: [", "is not YAML"),
        ("- a", "holds list, not an object"),
        ("text", "holds str, not an object"),
        ("!!python/object:os.system x", "is not YAML"),
    ],
)
def test_what_is_no_object(tmp_path: Path, text: str, says: str) -> None:
    result = cli("render", written(tmp_path, text))
    assert (result.exit_code, result.stdout) == (1, "")
    assert says in result.stderr


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_bytes(b"a: \xff\xfe\xfa")
    result = cli("render", file)
    assert result.exit_code == 1
    assert "is not YAML" in result.stderr


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    assert cli("render", tmp_path / "none.yaml").exit_code == 2
    assert cli("render", tmp_path).exit_code == 2
    assert cli("render").exit_code == 2


def test_the_default_image_comes_from_the_settings(tmp_path: Path) -> None:
    file = written(tmp_path, GOOD.replace("NAME", "a"))
    result = cli("render", file, VLLM_OPERATOR_CPU_IMAGE="own:1", VLLM_OPERATOR_CPU_ENGINE="vllm 0.32")
    assert "image: own:1" in result.stdout


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("CPU_IMAGE", "own:1"),
        ("CPU_ENGINE", "vllm"),
        ("CPU_ENGINE", "vllm 0.32; rm"),
        ("HEALTH_PORT", "65536"),
        ("HEALTH_PORT", "-1"),
        ("HEALTH_PORT", "http"),
        ("HEALTH_PORT", ""),
        ("WORKERS", "0"),
        ("WORKERS", "257"),
    ],
)
def test_a_bad_setting_is_named(tmp_path: Path, setting: str, value: str) -> None:
    variable = f"VLLM_OPERATOR_{setting}"
    result = cli("render", written(tmp_path, GOOD.replace("NAME", "a")), **{variable: value})
    assert result.exit_code == 1
    assert "VLLM_OPERATOR_CPU_ENGINE" in result.stderr or variable in result.stderr
    assert "Traceback" not in result.output
    assert cli("run", **{variable: value}).exit_code == 1


@pytest.mark.parametrize("image", ["own:latest", "own", "registry:5000/own", "registry:5000/own:latest"])
def test_an_image_that_moves_is_refused(image: str) -> None:
    with pytest.raises(InvalidSettingError, match=r"^VLLM_OPERATOR_CPU_IMAGE: .* moves"):
        Settings.read({"VLLM_OPERATOR_CPU_IMAGE": image, "VLLM_OPERATOR_CPU_ENGINE": "vllm 0.32"})
    with pytest.raises(InvalidSettingError, match=r"^VLLM_OPERATOR_MICROSERVICE_IMAGE: .* moves"):
        Settings.read({"VLLM_OPERATOR_MICROSERVICE_IMAGE": image})


@pytest.mark.parametrize("image", ["own:1", "own@sha256:0", "own:latest@sha256:0", "registry:5000/own:1"])
def test_an_image_that_stays_is_taken(image: str) -> None:
    environment = {"VLLM_OPERATOR_CPU_IMAGE": image, "VLLM_OPERATOR_CPU_ENGINE": "vllm 0.32.1"}
    assert Settings.read(environment).defaults.images["cpu"].image == image


def test_settings() -> None:
    assert Settings.read({}) == Settings()
    assert Settings().defaults.images == DEFAULT_IMAGES
    environment = {"NAMESPACES": "a,,b", "HEALTH_ADDRESS": "::", "HEALTH_PORT": "0", "WORKERS": "256"}
    read = Settings.read({f"VLLM_OPERATOR_{key}": value for key, value in environment.items()})
    assert (read.namespaces, read.health_address, read.health_port, read.workers) == (
        ("a", "b"),
        "::",
        0,
        256,
    )


def test_crds() -> None:
    result = cli("crds")
    assert result.exit_code == 0
    printed = list(yaml.safe_load_all(result.stdout))
    assert printed == crds()
    assert [crd["spec"]["names"]["kind"] for crd in printed] == ["VLLMServer", "FP8Quantization"]


def test_help_names_every_command() -> None:
    for option in ("--help", "-h"):
        result = cli(option)
        assert result.exit_code == 0
        for command in ("crds", "render", "run"):
            assert f"\n  {command} " in result.stdout
    assert "Exit code 1" in " ".join(cli("render", "--help").stdout.split())


def test_version() -> None:
    assert __version__ in cli("--version").stdout

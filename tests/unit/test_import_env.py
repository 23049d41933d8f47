"""`vllm-operator import-env`: the guide's own files, and what becomes of every variable."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from vllm_operator.__main__ import main
from vllm_operator.api.kinds import CLASSES
from vllm_operator.api.owned import OWNED_VARIABLES
from vllm_operator.importenv.table import TABLE

GUIDE = Path(__file__).parents[1] / "data" / "guide"
HPU, CPU, README, FP8 = "docker/hpu/.env", "docker/cpu/.env", "docker/.env.hpu", "docker/.env.fp8"
SWITCH = {"IF_FP8_QUANTIZATION": "true"}
NEW, GIVEN = ("--cache-size", "50Gi"), ("--cache-claim", "guide")
CASES: dict[str, tuple[tuple[str, ...], dict[str, str]]] = {
    "hpu": ((HPU, *NEW), {}),
    "cpu": (
        (CPU, *NEW, "--namespace", "models", "--name", "llama"),
        {"HF_TOKEN": "hf_theTokenOfTheShell0123456"},
    ),
    "readme": ((README, *NEW), {}),
    "calibrated": ((HPU, FP8, *NEW), {}),
    "in-fp8": ((HPU, FP8, *NEW, "--dataset-claim", "datasets"), SWITCH | {"BATCH_SIZE": "16"}),
    "adopted": ((HPU, *GIVEN), SWITCH),
}
"""Words of the command line and variables of the environment, by the file with what is printed."""


def imported(*words: str | Path, **environment: str) -> Result:
    """Run the command; of the test's own environment it sees nothing that the guide knows."""
    clean: dict[str, str | None] = dict.fromkeys(TABLE)
    result = CliRunner().invoke(main, ["import-env", *map(str, words)], env=clean | environment)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def written(folder: Path, *lines: str) -> Path:
    file = folder / ".env"
    file.write_text("\n".join(lines) + "\n")
    return file


def documents(result: Result) -> dict[str, dict[str, Any]]:
    """What is printed, by kind. It has been read with no unknown field."""
    assert result.exit_code == 0, result.stderr
    found = {each["kind"]: each for each in yaml.safe_load_all(result.stdout)}
    for kind, body in found.items():
        CLASSES[kind].parse(body, strict=True)
    return found


def flat(result: Result) -> str:
    """What is printed, with each comment on one line."""
    return re.sub(r"\n *# +(?!-)", " ", result.stdout)


def spec(result: Result, kind: str = "VLLMServer") -> dict[str, Any]:
    found: dict[str, Any] = documents(result)[kind]["spec"]
    return found


def at(body: Any, field: str) -> Any:
    for key in field.split("."):
        body = body[key]
    return body


@pytest.mark.parametrize("case", CASES)
def test_the_guides_own_files(
    case: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(GUIDE)
    words, environment = CASES[case]
    result = imported(*words, **environment)
    documents(result)
    expected = GUIDE / f"{case}.yaml"
    if request.config.getoption("--update-golden"):
        expected.write_text(result.stdout)
    assert result.stdout == expected.read_text()
    assert result.stderr == ""
    assert "hf_" not in result.stdout


@pytest.mark.parametrize("case", CASES)
def test_what_is_printed_can_be_rendered(case: str) -> None:
    result = CliRunner().invoke(main, ["render", str(GUIDE / f"{case}.yaml")], catch_exceptions=False)
    assert result.exit_code == 0, result.stderr
    kinds = [each["kind"] for each in yaml.safe_load_all(result.stdout)]
    assert kinds.count("Deployment") == 1


def test_the_table_is_complete() -> None:
    """The list holds every variable that is named where the guide and its sources were read."""
    assert set((GUIDE / "variables.txt").read_text().split()) - set(TABLE) == set()


def test_every_row_is_one_thing() -> None:
    for name, row in TABLE.items():
        becomes = bool(row.server or row.quantization)
        assert becomes or row.why, name
        assert bool(row.device) <= bool(row.why), name
        assert row.server != "extraEnv" or name not in OWNED_VARIABLES, name
        assert all(text == "" or text.endswith(".") for text in (row.note, row.why)), name


BUCKETS = {
    f"VLLM_{kind}_BUCKET_{bound}": ("7", "gaudi", f"warmup.buckets.{field}.{bound.lower()}", 7)
    for kind, field in (
        ("PROMPT_BS", "promptBatchSize"),
        ("PROMPT_QUERY", "promptQuery"),
        ("PROMPT_CTX", "promptContext"),
        ("PROMPT_SEQ", "promptQuery"),
        ("DECODE_BS", "decodeBatchSize"),
        ("DECODE_BLOCK", "decodeBlocks"),
    )
    for bound in ("MIN", "STEP", "MAX")
}
PROXIES = {
    spelling: (value, "cpu", f"proxy.{field}", value)
    for name, field, value in (
        ("HTTP_PROXY", "httpProxy", "http://proxy.example.com:3128"),
        ("HTTPS_PROXY", "httpsProxy", "http://proxy.example.com:3129"),
        ("NO_PROXY", "noProxy", "localhost,.svc"),
    )
    for spelling in (name, name.lower())
}
FIELDS: dict[str, tuple[str, str, str, Any]] = {
    "HF_TOKEN": ("secret", "cpu", "model.tokenSecretRef", {"name": "hugging-face"}),
    "LLM_VLLM_MODEL_NAME": ("org/Other", "cpu", "model.name", "org/Other"),
    "LLM_VLLM_PORT": ("8009", "cpu", "service.port", 8009),
    "PT_HPU_ENABLE_LAZY_COLLECTIVES": ("true", "gaudi", "gaudi.lazyCollectives", True),
    "VLLM_CPU_KVCACHE_SPACE": ("40", "cpu", "cpu.kvCache", "40Gi"),
    "VLLM_DTYPE": ("half", "cpu", "engineArgs.dtype", "float16"),
    "VLLM_MAX_NUM_SEQS": ("256", "cpu", "engineArgs.maxNumSeqs", 256),
    "VLLM_BLOCK_SIZE": ("128", "gaudi", "engineArgs.blockSize", 128),
    "VLLM_SKIP_WARMUP": ("True", "gaudi", "warmup.skip", True),
    "VLLM_TP_SIZE": ("2", "gaudi", "tensorParallelSize", 2),
    "VLLM_ENABLE_EXPERT_PARALLEL": ("1", "gaudi", "extraArgs", ["--enable-expert-parallel"]),
    "VLLM_PP_SIZE": ("2", "cpu", "pipelineParallelSize", 2),
    "VLLM_MAX_MODEL_LEN": ("4096", "cpu", "engineArgs.maxModelLen", 4096),
    "VLLM_CPU_OMP_THREADS_BIND": ("0-31|32-63", "cpu", "cpu.threadsBind", "0-31|32-63"),
    "VLLM_CPU_NUM_OF_RESERVED_CPU": ("1", "cpu", "cpu.reservedCores", 1),
    "HF_ENDPOINT": ("https://hub.example.com", "cpu", "model.hubEndpoint", "https://hub.example.com"),
    "HF_HUB_OFFLINE": ("1", "cpu", "model.offline", True),
    "LLM_CONNECTOR": ("langchain", "cpu", "microservice", {"enabled": True, "connector": "langchain"}),
    "LLM_USVC_PORT": ("9001", "gaudi", "microservice", {"enabled": True, "port": 9001}),
    "LLM_MODEL_SERVER": ("vllm", "cpu", "microservice", {"enabled": True}),
    "LLM_MODEL_SERVER_ENDPOINT": (
        "http://localhost:${LLM_VLLM_PORT}",
        "cpu",
        "microservice",
        {"enabled": True},
    ),
    "VLLM_API_KEY": ("opensesame", "cpu", "apiKeySecretRef", {"name": "model-callers"}),
    "LLM_VLLM_API_KEY": (
        "opensesame",
        "cpu",
        "apiKeySecretRef",
        {"name": "model-callers", "key": "LLM_VLLM_API_KEY"},
    ),
    "VLLM_BUCKETING_STRATEGY": ("pad", "gaudi", "warmup.strategy", "pad"),
    "VLLM_EXPONENTIAL_BUCKETING": ("false", "gaudi", "warmup.strategy", "lin"),
    "PT_HPU_RECIPE_CACHE_CONFIG": (
        "/data/.recipes,false,8192",
        "gaudi",
        "warmup.recipeCache",
        {"enabled": True, "size": "8192Mi"},
    ),
    **BUCKETS,
    **PROXIES,
}
"""Value of each variable that is a field of a server, device, field, value there."""


def test_every_variable_that_is_a_field_has_an_example() -> None:
    elsewhere = {"LLM_DEVICE", "IF_FP8_QUANTIZATION"}
    fields = {name for name, row in TABLE.items() if row.server not in ("", "extraEnv")}
    assert fields - elsewhere == set(FIELDS)


@pytest.mark.parametrize("name", FIELDS)
def test_a_variable_becomes_a_field(tmp_path: Path, name: str) -> None:
    value, device, field, there = FIELDS[name]
    file = written(tmp_path, "LLM_VLLM_MODEL_NAME=org/Model", f"{name}={value}")
    result = imported(file, *NEW, "--device", device)
    assert at(spec(result), field) == there
    assert f" {file}:2: {name}" in flat(result)
    assert "Without effect" not in result.stdout


@pytest.mark.parametrize(
    "name", [name for name, row in TABLE.items() if not row.server and not row.quantization]
)
@pytest.mark.parametrize("device", ["cpu", "gaudi"])
def test_a_variable_without_effect_is_named(tmp_path: Path, name: str, device: str) -> None:
    plain = written(tmp_path, "LLM_VLLM_MODEL_NAME=org/Model")
    without = spec(imported(plain, *NEW, "--device", device))
    file = written(tmp_path, "LLM_VLLM_MODEL_NAME=org/Model", f"{name}=some-text-that-is-nowhere")
    result = imported(file, *NEW, "--device", device, **{name: "another-text"})
    assert spec(result) == without
    assert f"# - {file}:2: {name}: {TABLE[name].why}\n" in flat(result)
    assert "text" not in result.stdout


@pytest.mark.parametrize("name", [name for name, row in TABLE.items() if row.device and row.why])
def test_a_variable_of_the_other_device_is_named(tmp_path: Path, name: str) -> None:
    other = {"cpu": "gaudi", "gaudi": "cpu"}[TABLE[name].device]
    file = written(tmp_path, "LLM_VLLM_MODEL_NAME=org/Model", f"{name}=1")
    result = imported(file, *NEW, "--device", other)
    assert set(documents(result)) == {"VLLMServer"}
    assert set(spec(result)) == {"model", "device", "cache"}
    assert TABLE[name].why in flat(result)


@pytest.mark.parametrize("name", [name for name, row in TABLE.items() if row.server == "extraEnv"])
def test_a_variable_that_has_no_field_is_given_to_the_pods(tmp_path: Path, name: str) -> None:
    file = written(tmp_path, "LLM_VLLM_MODEL_NAME=org/Model", f"{name}=0.5")
    result = imported(file, *NEW, "--device", TABLE[name].device or "cpu")
    assert spec(result)["extraEnv"] == [{"name": name, "value": "0.5"}]


@pytest.mark.parametrize(
    ("lines", "environment", "device"),
    [
        (["HABANA_VISIBLE_DEVICES=all"], {}, "gaudi"),
        (["PT_HPU_ENABLE_LAZY_COLLECTIVES=true"], {}, "gaudi"),
        (["OMP_NUM_THREADS=32"], {}, "cpu"),
        (["LLM_DEVICE=cpu", "HABANA_VISIBLE_DEVICES=all"], {}, "cpu"),
        (["LLM_DEVICE=cpu"], {"LLM_DEVICE": "hpu"}, "gaudi"),
    ],
)
def test_the_device_is_told_by_the_variables(
    tmp_path: Path, lines: list[str], environment: dict[str, str], device: str
) -> None:
    file = written(tmp_path, "LLM_VLLM_MODEL_NAME=org/Model", *lines)
    assert spec(imported(file, *NEW, **environment))["device"] == device
    assert spec(imported(file, *NEW, "--device", "gaudi", **environment))["device"] == "gaudi"


def test_the_environment_goes_first_and_then_the_later_file(tmp_path: Path) -> None:
    first = written(tmp_path, "LLM_VLLM_MODEL_NAME=org/A", "VLLM_MAX_NUM_SEQS=1", "VLLM_MAX_MODEL_LEN=1")
    later = tmp_path / "later"
    later.write_text("VLLM_MAX_NUM_SEQS=2\nVLLM_MAX_MODEL_LEN=2\n")
    words = (first, later, *NEW, "--device", "cpu")
    shell = {"VLLM_MAX_NUM_SEQS": "3", "VLLM_DTYPE": "float32", "VLLM_OF_NOBODY": "1", "OMP_NUM_THREADS": "1"}
    result = imported(*words, **shell)
    assert spec(result)["engineArgs"] == {"dtype": "float32", "maxNumSeqs": 3, "maxModelLen": 2}
    assert "# environment: VLLM_MAX_NUM_SEQS\n" in result.stdout
    assert "VLLM_OF_NOBODY" not in result.stdout
    assert "OMP_NUM_THREADS" not in result.stdout
    quiet = imported(*words, "--no-environment", **shell)
    assert spec(quiet)["engineArgs"] == {"maxNumSeqs": 2, "maxModelLen": 2}


def test_what_is_empty_is_not_set(tmp_path: Path) -> None:
    file = written(tmp_path, "LLM_VLLM_MODEL_NAME=org/Model", "HF_TOKEN=", "VLLM_TP_SIZE=", 'HTTP_PROXY=""')
    assert set(spec(imported(file, *NEW, "--device", "cpu", HF_TOKEN=""))) == {"model", "device", "cache"}


def test_of_two_variables_for_one_field_one_counts(tmp_path: Path) -> None:
    lines = (
        "VLLM_EXPONENTIAL_BUCKETING=true",
        "VLLM_BUCKETING_STRATEGY=lin",
        "http_proxy=http://b",
        "HTTP_PROXY=http://a",
    )
    result = imported(written(tmp_path, "LLM_VLLM_MODEL_NAME=org/Model", *lines), *NEW, "--device", "gaudi")
    assert spec(result)["warmup"] == {"strategy": "lin"}
    assert spec(result)["proxy"] == {"httpProxy": "http://a"}
    assert "VLLM_EXPONENTIAL_BUCKETING: Another setting says it already." in flat(result)
    assert "http_proxy: HTTP_PROXY says it already." in flat(result)


def test_the_microservice_is_made_once_whoever_asks_for_it(tmp_path: Path) -> None:
    lines = ("LLM_MODEL_SERVER=vllm", "LLM_CONNECTOR=generic", "LLM_USVC_PORT=9002")
    file = written(tmp_path, "LLM_VLLM_MODEL_NAME=org/Model", *lines)
    result = imported(file, *NEW, "--device", "cpu")
    assert spec(result)["microservice"] == {"enabled": True, "connector": "generic", "port": 9002}
    assert f" {file}:3: LLM_CONNECTOR: Only the LLM microservice reads it.\n" in flat(result)
    assert "LLM_MODEL_SERVER: The LLM microservice asks this server, whatever stands here." in flat(result)
    plain = written(tmp_path, "LLM_VLLM_MODEL_NAME=org/Model")
    assert "microservice" not in spec(imported(plain, *NEW, "--device", "cpu"))
    asked = imported(plain, *NEW, "--device", "cpu", "--microservice")
    assert spec(asked)["microservice"] == {"enabled": True}
    assert "# --microservice\n" in asked.stdout


def test_of_two_keys_the_first_of_the_table_counts(tmp_path: Path) -> None:
    lines = ("LLM_VLLM_API_KEY=of-the-microservice", "VLLM_API_KEY=of-vllm-itself")
    file = written(tmp_path, "LLM_VLLM_MODEL_NAME=org/Model", *lines)
    result = imported(file, *NEW, "--device", "cpu")
    assert spec(result)["apiKeySecretRef"] == {"name": "model-callers"}
    assert "LLM_VLLM_API_KEY: Another setting says it already." in flat(result)
    assert result.stdout.count("--from-literal") == 1


def test_sizes_of_buckets_bring_a_strategy_that_looks_at_them(tmp_path: Path) -> None:
    lines = ("LLM_VLLM_MODEL_NAME=org/Model", "VLLM_DECODE_BLOCK_BUCKET_MAX=8256")
    warmup = spec(imported(written(tmp_path, *lines), *NEW, "--device", "gaudi"))["warmup"]
    assert warmup == {"strategy": "lin", "buckets": {"decodeBlocks": {"max": 8256}}}


@pytest.mark.parametrize(
    "name", ["VLLM_OF_TOMORROW", "PT_HPU_NEW", "HABANA_NEW", "HCCL_NEW", "HF_NEW", "TORCH_LOGS"]
)
@pytest.mark.parametrize("value", ["0", "-1", "0.05", "1073741824", "True", "auto", "INFO", "spawn"])
def test_an_unknown_variable_of_vllm_is_given_to_the_pods(tmp_path: Path, name: str, value: str) -> None:
    file = written(tmp_path, "LLM_VLLM_MODEL_NAME=org/Model", f"{name}={value}")
    result = imported(file, *NEW, "--device", "cpu")
    assert spec(result)["extraEnv"] == [{"name": name, "value": value}]
    assert f"{name}: Not known to the guide.\n" in flat(result)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("MY_SETTING", "Not known to the guide. For a variable of the pods there is extraEnv."),
        ("HABANA_VISIBLE_MODULES", "Not known to the guide; the operator sets it itself."),
        ("VLLM_OPERATOR_WORKERS", "A setting of the operator."),
    ],
)
def test_another_unknown_variable_is_named(tmp_path: Path, name: str, why: str) -> None:
    file = written(tmp_path, "LLM_VLLM_MODEL_NAME=org/Model", f"{name}=nowhere")
    result = imported(file, *NEW, "--device", "gaudi")
    assert "extraEnv" not in spec(result)
    assert f"{name}: {why}" in flat(result)
    assert "nowhere" not in result.stdout


def test_the_page_of_variables_has_them_all() -> None:
    page = (Path(__file__).parents[2] / "docs" / "reference" / "guide-variables.md").read_text()
    assert re.findall(r"^\| `(\w+)`", page, re.M) == list(TABLE)

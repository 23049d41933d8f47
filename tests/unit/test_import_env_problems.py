"""`vllm-operator import-env` with values that do not fit."""

from pathlib import Path

import pytest

from tests.unit.test_import_env import GIVEN, NEW, documents, flat, imported, spec, written
from vllm_operator.importenv.settings import read

MODEL = "LLM_VLLM_MODEL_NAME=org/Model"
SECRET = "hf_aTokenThatNobodyMaySee0123456789"


@pytest.mark.parametrize(
    ("device", "line", "says"),
    [
        ("cpu", "VLLM_TP_SIZE=eight", "must be a whole number: correct it, or take it out"),
        ("cpu", "VLLM_TP_SIZE=" + "9" * 5000, "must be a whole number"),
        ("cpu", "VLLM_TP_SIZE=0", "spec.tensorParallelSize: Input should be greater than or equal to 1"),
        (
            "gaudi",
            "VLLM_TP_SIZE=3",
            "spec: tensorParallelSize times pipelineParallelSize must be 1, 2, 4 or 8",
        ),
        ("cpu", "LLM_VLLM_PORT=80800", "spec.service.port: Input should be less than or equal to 65535"),
        ("cpu", "LLM_CONNECTOR=tgi", "spec.microservice.connector: Input should be 'generic' or 'langchain'"),
        ("cpu", "LLM_USVC_PORT=0", "spec.microservice.port: Input should be greater than or equal to 1"),
        ("cpu", "VLLM_DTYPE=int4", "spec.engineArgs.dtype: Input should be 'auto'"),
        ("gaudi", "VLLM_DTYPE=float16", "spec.engineArgs.dtype: vllm-gaudi 0.26 on gaudi takes one of auto"),
        ("gaudi", "VLLM_SKIP_WARMUP=maybe", "must be true, false, 1 or 0"),
        ("cpu", "VLLM_CPU_KVCACHE_SPACE=40Gi", "must be a whole number"),
        ("cpu", "VLLM_CPU_KVCACHE_SPACE=0", "spec.cpu: kvCache must be greater than 0"),
        ("cpu", "VLLM_CPU_OMP_THREADS_BIND=all", "spec.cpu.threadsBind: "),
        ("gaudi", "PT_HPU_RECIPE_CACHE_CONFIG=/data", "must be FOLDER,false,MEGABYTES"),
        ("cpu", "HTTP_PROXY=proxy:3128", "must be http:// or https:// and a host, perhaps with a port"),
        ("cpu", "NO_PROXY=localhost;.svc", "must be hosts, domains and networks, with commas between them"),
        ("cpu", "HF_ENDPOINT=hub.example.com", "must be http:// or https:// and a host"),
        ("cpu", "LLM_MODEL_SERVER=tgi", "must be vllm: the operator serves models by vLLM only"),
        ("cpu", "LLM_VLLM_MODEL_NAME=../etc", "spec.model.name: "),
        ("cpu", "VLLM_MAX_NUM_SEQS=${SEQS}", "names another variable by $, in whose place its value has to"),
    ],
)
def test_a_value_that_does_not_fit_is_told_with_its_place(
    tmp_path: Path, device: str, line: str, says: str
) -> None:
    file = written(tmp_path, "# settings", MODEL, "", line)
    result = imported(file, *NEW, "--device", device, "--name", "a")
    assert (result.exit_code, result.stdout) == (1, "")
    assert f"{file}:4: {line.partition('=')[0]}: {says}" in result.stderr


def test_a_value_of_the_environment_and_every_problem_are_told(tmp_path: Path) -> None:
    file = written(tmp_path, MODEL, "VLLM_TP_SIZE=a", "VLLM_MAX_NUM_SEQS=b")
    result = imported(file, *NEW, "--device", "cpu", VLLM_TP_SIZE="c")
    assert result.exit_code == 1
    says = "must be a whole number: correct it, or take it out"
    assert result.stderr.splitlines() == [
        f"{file}:3: VLLM_MAX_NUM_SEQS: {says}",
        f"environment: VLLM_TP_SIZE: {says}",
    ]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ((), "No variable says where the weights are kept: give --cache-size SIZE"),
        ((*NEW, *GIVEN), "and not both"),
        (("--cache-size", "much"), "--cache-size: spec.cache.size: must be a quantity"),
        (("--cache-claim", "A"), "--cache-claim: spec.cache.claimName: "),
        (("--cache-claim", ""), "--cache-claim: spec.cache.claimName: "),
        ((*NEW, "--name", "A"), "--name: metadata.name must be at most 40"),
        ((*NEW, "--namespace", "a\nb"), "--namespace: must be"),
    ],
)
def test_an_option_that_does_not_fit(tmp_path: Path, words: tuple[str, ...], says: str) -> None:
    result = imported(written(tmp_path, MODEL), "--device", "cpu", *words)
    assert (result.exit_code, result.stdout) == (1, "")
    assert says in result.stderr


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        (["VLLM_TP_SIZE=1"], "LLM_VLLM_MODEL_NAME is not set: write it into a file, or export it"),
        ([MODEL], "say --device gaudi or --device cpu"),
        ([MODEL, "HABANA_VISIBLE_DEVICES=all", "OMP_NUM_THREADS=1"], "say --device gaudi or --device cpu"),
        ([MODEL, "LLM_DEVICE=HPU"], ":2: LLM_DEVICE: must be hpu or cpu"),
        (["LLM_VLLM_MODEL_NAME=org/7B", "LLM_DEVICE=cpu"], ":1: LLM_VLLM_MODEL_NAME: makes no name"),
        (["LLM_VLLM_MODEL_NAME=/data/...", "LLM_DEVICE=cpu"], ":1: LLM_VLLM_MODEL_NAME: makes no name"),
    ],
)
def test_what_no_variable_tells_is_asked_for(tmp_path: Path, lines: list[str], says: str) -> None:
    result = imported(written(tmp_path, *lines), *NEW)
    assert (result.exit_code, result.stdout) == (1, "")
    assert says in result.stderr


@pytest.mark.parametrize(
    "line", [SECRET, "MY NAME=1", f"{SECRET}=1", "A.B=1", "=1", "A='never ended", "'a\nb'=1"]
)
def test_a_line_that_is_no_variable_is_not_shown(tmp_path: Path, line: str) -> None:
    file = written(tmp_path, MODEL, "", line, "VLLM_TP_SIZE=1")
    result = imported(file, *NEW, "--device", "cpu")
    assert (result.exit_code, result.stdout) == (1, "")
    assert f"{file}:3: is not NAME=VALUE: correct the line, or take it out\n" in result.stderr
    assert "hf_" not in result.stderr


def test_bytes_of_the_environment_that_are_no_text(tmp_path: Path) -> None:
    file = written(tmp_path, MODEL, "OMP_NUM_THREADS=1")
    result = imported(file, *NEW, HF_ENDPOINT="http://\udcff")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("environment: HF_ENDPOINT: must be http:// or https:// and a host")


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    file = tmp_path / "a\nb"
    file.write_bytes(b"A=\xff")
    result = imported(file, *NEW)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == f"{tmp_path}/a?b: is not UTF-8 text\n"
    assert imported(tmp_path / "none", *NEW).exit_code == 2


def test_the_name_of_a_file_cannot_add_a_line(tmp_path: Path) -> None:
    file = tmp_path / "a\nkind: Secret\u2028#"
    file.write_text(f"{MODEL}\nOMP_NUM_THREADS=1\n")
    assert list(documents(imported(file, *NEW))) == ["VLLMServer"]


def test_the_dialect_of_the_files(tmp_path: Path) -> None:
    """That of docker compose: `export`, quotes, `#` after a space, lines within quotes."""
    lines = (
        "export VLLM_A=1 # one",
        'VLLM_B="b#c"',
        "VLLM_C=b#c",
        'VLLM_D="x\ny"',
        "VLLM_E='$X'",
        "VLLM_F = f",
    )
    found = read([written(tmp_path, "\ufeff" + MODEL, *lines)], {})
    values = {name[-1]: setting.value for name, setting in found.items() if name.startswith("VLLM_")}
    assert values == {"A": "1", "B": "b#c", "C": "b#c", "D": "x\ny", "E": "$X", "F": "f"}


@pytest.mark.parametrize(
    ("lines", "words", "says"),
    [
        (
            ["IF_FP8_QUANTIZATION=true"],
            NEW,
            ":2: IF_FP8_QUANTIZATION: asks for a result that is there already",
        ),
        (
            ["IF_FP8_QUANTIZATION=true", "QUANT_CONFIG=/data/inc/a/maxabs_quant_g2.json"],
            NEW,
            ":3: QUANT_CONFIG: asks for a result that is there already",
        ),
        (
            ["IF_FP8_QUANTIZATION=true", "QUANT_CONFIG=/opt/maxabs_quant_g2.json"],
            GIVEN,
            ":3: QUANT_CONFIG: spec.existing.path: must be the path of a folder below /data/",
        ),
        (["FP8_DATASET_PATH=/home/me/a.pkl"], NEW, ":2: FP8_DATASET_PATH: is no file below /data"),
        (["FP8_DATASET_PATH=a.pkl"], NEW, ":2: FP8_DATASET_PATH: is no file below /data"),
        (["FP8_DATASET_PATH=/data/a/../b.pkl"], NEW, ":2: FP8_DATASET_PATH: spec.dataset"),
        (["FP8_DATASET_PATH=/data/a.pkl", "BATCH_SIZE=0"], NEW, ":3: BATCH_SIZE: spec.batchSize: "),
    ],
)
def test_fp8_that_cannot_be(tmp_path: Path, lines: list[str], words: tuple[str, ...], says: str) -> None:
    file = written(tmp_path, MODEL, *lines)
    result = imported(file, *words, "--device", "gaudi")
    assert (result.exit_code, result.stdout) == (1, "")
    assert f"{file}{says}" in result.stderr


def test_a_result_is_where_the_script_writes_it_or_where_it_is_said_to_be(tmp_path: Path) -> None:
    lines = ["LLM_VLLM_MODEL_NAME=meta-llama/Llama-3.1-8B", "IF_FP8_QUANTIZATION=true", "VLLM_TP_SIZE=8"]
    words = (*GIVEN, "--device", "gaudi")
    found = documents(imported(written(tmp_path, *lines), *words))
    quantization, server = found["FP8Quantization"], found["VLLMServer"]
    assert quantization["spec"]["existing"] == {"path": "/data/inc/llama-3.1-8b"}
    assert quantization["spec"]["tensorParallelSize"] == 8
    assert server["spec"]["fp8"]["quantizationRef"] == {"name": quantization["metadata"]["name"]}
    lines += [
        "QUANT_CONFIG=/data/inc/Own/maxabs_quant_g3.json",
        "FP8_DATASET_PATH=/data/a.pkl",
        "BATCH_SIZE=8",
    ]
    result = imported(written(tmp_path, *lines), *words)
    assert spec(result, "FP8Quantization")["existing"] == {"path": "/data/inc/Own"}
    for name in ("FP8_DATASET_PATH: QUANT_CONFIG names a result", "BATCH_SIZE: Nothing is measured."):
        assert name in flat(result)


def test_a_dataset_of_a_hub_and_a_long_name(tmp_path: Path) -> None:
    lines = (f"LLM_VLLM_MODEL_NAME=org/{'Long-' * 12}", "FP8_DATASET_PATH=org/samples", "VLLM_TP_SIZE=4")
    found = documents(imported(written(tmp_path, *lines), *NEW))
    quantization, name = found["FP8Quantization"], found["VLLMServer"]["metadata"]["name"]
    assert quantization["spec"]["dataset"] == {"huggingFace": {"name": "org/samples"}}
    assert quantization["spec"]["cache"] == {"claimName": f"{name}-cache", "fsGroup": 1000}
    assert quantization["metadata"]["name"] == f"{name[:34]}-tp4"
    assert len(name) == 39


def test_only_the_guides_own_word_switches_fp8_on(tmp_path: Path) -> None:
    lines = (MODEL, "IF_FP8_QUANTIZATION=True", "QUANT_CONFIG=/data/inc/a/maxabs_quant_g2.json")
    result = imported(written(tmp_path, *lines), *NEW, "--device", "gaudi")
    assert set(spec(result)) == {"model", "device", "cache"}
    assert "IF_FP8_QUANTIZATION: Only true, in lower case, has ever switched FP8 on." in flat(result)
    assert "QUANT_CONFIG: Without IF_FP8_QUANTIZATION=true it had no effect." in flat(result)

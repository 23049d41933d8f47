"""`vllm-operator import-env` prints no secret, whatever it stands in, and no text that changes the YAML."""

import re
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.unit.test_import_env import GIVEN, NEW, at, documents, flat, imported, spec, written
from tests.unit.test_import_env_problems import MODEL, SECRET
from vllm_operator.__main__ import main
from vllm_operator.importenv.table import TABLE
from vllm_operator.importenv.values import WORDS

SHOWN = {
    *("LLM_VLLM_MODEL_NAME", "FP8_DATASET_PATH", "QUANT_CONFIG", "HF_ENDPOINT"),
    *("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"),
}
"""Variables whose words are printed: names, paths and hosts."""
MARK = "Zq7xKp2mWv9tRb"
DOCS = Path(__file__).parents[2] / "docs" / "tasks" / "from-the-guide.md"


@pytest.mark.parametrize(
    ("line", "key", "secret"),
    [
        (f"HF_TOKEN={SECRET}", "HF_TOKEN", "hugging-face"),
        ("VLLM_API_KEY=opensesame", "VLLM_API_KEY", "model-callers"),
        ("LLM_VLLM_API_KEY=opensesame", "LLM_VLLM_API_KEY", "model-callers"),
        ("VLLM_SOME_API_KEY=opensesame", "VLLM_SOME_API_KEY", "model-environment"),
        (f"VLLM_X={SECRET}", "VLLM_X", "model-environment"),
        ("HTTPS_PROXY=http://me:opensesame@proxy:3128", "HTTPS_PROXY", "model-environment"),
        ("VLLM_X=https://me:/opensesame@files.example.com", "VLLM_X", "model-environment"),
    ],
)
def test_a_secret_is_named_and_never_shown(tmp_path: Path, line: str, key: str, secret: str) -> None:
    file = written(tmp_path, MODEL, line, "NO_PROXY=localhost")
    result = imported(file, *NEW, "--device", "cpu", "--namespace", "models")
    made = f'kubectl -n models create secret generic {secret} --from-literal={key}="${{{key}:?}}"\n'
    assert f"#   {made}" in result.stdout
    assert f"name: {secret}\n" in result.stdout.partition("\n---\n")[2]
    assert line.partition("=")[2] not in result.output
    assert "opensesame" not in result.output
    documents(result)


def test_proxies_with_a_password_are_variables_of_both(tmp_path: Path) -> None:
    lines = (MODEL, "HTTP_PROXY=http://me:opensesame@proxy:3128", "NO_PROXY=.svc", "FP8_DATASET_PATH=org/set")
    result = imported(written(tmp_path, *lines), *NEW)
    source = {"secretKeyRef": {"name": "model-environment", "key": "HTTP_PROXY"}}
    variables = [{"name": "HTTP_PROXY", "valueFrom": source}, {"name": "NO_PROXY", "value": ".svc"}]
    for kind in ("VLLMServer", "FP8Quantization"):
        assert spec(result, kind)["extraEnv"] == variables
        assert "proxy" not in spec(result, kind)
    assert result.stdout.count("--from-literal") == 1


@pytest.mark.parametrize("name", [name for name, row in TABLE.items() if row.server and not row.secret])
def test_a_token_in_another_variable_is_not_shown(tmp_path: Path, name: str) -> None:
    """Neither one that looks like one, nor that of HF_TOKEN, whatever it looks like."""
    for token in (SECRET, "OpenSesame"):
        file = written(tmp_path, MODEL, f"HF_TOKEN={token}", f"{name}=org/a-{token}")
        for device in ("cpu", "gaudi"):
            result = imported(file, *NEW, "--device", device)
            assert token.lower() not in result.output.lower()


ATTACKS = [
    f"VLLM_EXTRA_ARGS=--api-key {MARK}",
    f"VLLM_EXTRA_ARGS='--api-key={MARK}'",
    f"VLLM_ARGS=--hf-token {MARK} --port 8000",
    f"VLLM_PASS={MARK}",
    f"VLLM_PWD={MARK.lower()}",
    f"VLLM_AUTH={MARK.upper()}",
    f"HF_BEARER={MARK}",
    f"HF_X='auto\n{MARK}'",
    f'VLLM_X="auto\\n{MARK}"',
    f"VLLM_X=1,{MARK}",
    f"VLLM_X=0.{MARK}",
    f"VLLM_HEADERS=Authorization: Bearer {MARK}.abc.def",
    f"VLLM_S3_ENDPOINT=https://s3.example.com/b?X-Amz-Signature={MARK}",
    f"VLLM_DSN=postgresql://u:{MARK}@db/x",
    f"VLLM_COOKIE=session={MARK}",
    f'VLLM_JSON={{"token": "{MARK}"}}',
    f"HABANA_LOGIN={MARK}",
    f"TORCH_LOGS=+{MARK}",
    f"VLLM_CONTIGUOUS_PA={MARK}",
    f"VLLM_GRAPH_RESERVED_MEM=0.1 {MARK}",
    f"VLLM_{MARK}=1",
    f"HF_{MARK.lower()}=1",
    f"{MARK}=1",
    f"{MARK.lower()}=x",
    f"{MARK.upper()}==",
    f"{MARK}======",
    f"export {MARK}=1",
    f"{MARK}",
    f"VLLM_A=1 # {MARK}",
    f"# VLLM_A={MARK}",
    f"VLLM_A: {MARK}",
    f"'VLLM_A {MARK}'=1",
    f"VLLM_A='{MARK}",
    f'VLLM_A="{MARK}" {MARK}',
    f"LLM_VLLM_MODEL_NAME=org/Model?token={MARK}",
    f"LLM_VLLM_MODEL_NAME=org/Model --api-key {MARK}",
    f"LLM_VLLM_MODEL_NAME=https://u:{MARK}@hub.example.com/org/Model",
    f"LLM_VLLM_MODEL_NAME='/data/Model\n{MARK}'",
    f"LLM_VLLM_MODEL_NAME=/data/model:{MARK}",
    f"LLM_VLLM_MODEL_NAME=/data/model --api-key {MARK}",
    f"HF_ENDPOINT=https://hub.example.com/x;sig={MARK}",
    f"LLM_VLLM_MODEL_NAME=hf_{MARK}{MARK}",
    f"LLM_VLLM_MODEL_NAME=org/sk-{MARK}{MARK}",
    f"LLM_DEVICE={MARK}",
    f"LLM_CONNECTOR={MARK}",
    f"LLM_MODEL_SERVER={MARK}",
    f"LLM_MODEL_SERVER_ENDPOINT=http://u:{MARK}@host",
    f"LLM_USVC_PORT={MARK}",
    f"VLLM_DTYPE={MARK}",
    f"VLLM_TP_SIZE={MARK}",
    f"VLLM_SKIP_WARMUP={MARK}",
    f"VLLM_BUCKETING_STRATEGY={MARK}",
    f"VLLM_CPU_OMP_THREADS_BIND=0-1|{MARK}",
    f"PT_HPU_RECIPE_CACHE_CONFIG=/data/{MARK},false,1024",
    f"PT_HPU_RECIPE_CACHE_CONFIG=/data,{MARK},1024",
    f"FP8_DATASET_PATH=/data/a.pkl?sig={MARK}",
    f"FP8_DATASET_PATH=https://files.example.com/a.pkl?sig={MARK}",
    f"FP8_DATASET_PATH=s3://{MARK}:x@bucket/a.pkl",
    f"QUANT_CONFIG=/data/inc/{MARK}=x/maxabs_quant_g2.json",
    f"IF_FP8_QUANTIZATION={MARK}",
    f"HF_ENDPOINT=https://{MARK}@hub.example.com",
    f"HF_ENDPOINT=https://hub.example.com/x?token={MARK}",
    f"HF_ENDPOINT=https://hub.example.com/x#{MARK}",
    f"HTTP_PROXY={MARK}:x@proxy:3128",
    f"HTTP_PROXY=http://{MARK}@proxy:3128",
    f"HTTPS_PROXY=http://proxy:3128/?token={MARK}",
    f"https_proxy=http://proxy:3128/{MARK}",
    f"https_proxy=socks5://me:{MARK}@proxy",
    f"NO_PROXY=localhost {MARK}",
    f"no_proxy=.svc,http://u:{MARK}@x",
    f"LLM_VLLM_CLIENT_SECRET={MARK}",
    f"LLM_VLLM_TOKEN_URL=https://u:{MARK}@x",
    f"HF_HOME=/home/{MARK}",
    f"VLLM_OPERATOR_X={MARK}",
    f"MY_OWN={MARK}",
]


@pytest.mark.parametrize("line", ATTACKS)
@pytest.mark.parametrize("device", ["cpu", "gaudi"])
def test_a_secret_in_an_odd_place_is_not_shown(tmp_path: Path, line: str, device: str) -> None:
    file = written(tmp_path, MODEL, "IF_FP8_QUANTIZATION=true", line, "VLLM_MAX_NUM_SEQS=8")
    result = imported(file, *GIVEN, "--device", device)
    assert MARK.lower() not in result.output.lower()
    if result.exit_code == 0:
        documents(result)
    else:
        assert f"{file}:3: " in result.stderr


@pytest.mark.parametrize(
    ("lines", "shown"),
    [
        (["VLLM_X=abc1234"], "VLLM_X"),
        (["LLM_VLLM_MODEL_NAME=org/abc1234"], "LLM_VLLM_MODEL_NAME: holds a password or a token"),
        (["LLM_VLLM_MODEL_NAME=abc1234"], "LLM_VLLM_MODEL_NAME: holds a password or a token"),
        (["NO_PROXY=.svc,abc1234"], "NO_PROXY: holds a password or a token"),
    ],
)
def test_a_short_secret_is_not_shown_where_it_is_repeated(
    tmp_path: Path, lines: list[str], shown: str
) -> None:
    file = written(tmp_path, MODEL, "HF_TOKEN=abc1234", *lines, "VLLM_Y=1")
    result = imported(file, *NEW, "--device", "cpu")
    assert "abc1234" not in result.output
    assert shown in result.output


@pytest.mark.parametrize(
    ("name", "field", "values"),
    [
        (
            "HTTP_PROXY",
            "proxy.httpProxy",
            ["http://proxy", "https://p_1.example.com:3128/", "http://[fe80::1]:3128"],
        ),
        (
            "NO_PROXY",
            "proxy.noProxy",
            ["*", "localhost, .svc,*.example.com,", "127.0.0.1,10.0.0.0/8,::1,fd00::/8,kubernetes:443"],
        ),
        ("HF_ENDPOINT", "model.hubEndpoint", ["https://hub.example.com:8443/api/hub_1/", "http://10.0.0.1"]),
        (
            "LLM_VLLM_MODEL_NAME",
            "model.name",
            ["/data/hub/models--a--b/snapshots/0f_1.2", "gpt2", "a/B-7.b_c"],
        ),
    ],
)
def test_names_paths_and_hosts_are_printed(tmp_path: Path, name: str, field: str, values: list[str]) -> None:
    for value in values:
        file = written(tmp_path, MODEL, f"{name}={value}")
        found = spec(imported(file, *NEW, "--device", "cpu", "--name", "a"))
        assert at(found, field) == value
        assert "extraEnv" not in found


def test_what_is_no_secret_may_be_repeated(tmp_path: Path) -> None:
    lines = ("MAX_TOKENS=4096", "VLLM_SOME_KEY=4096", "VLLM_TOKENIZER=org/Model", "VLLM_MAX_MODEL_LEN=4096")
    found = spec(imported(written(tmp_path, MODEL, *lines), *NEW, "--device", "cpu"))
    assert found["engineArgs"] == {"maxModelLen": 4096}
    assert found["model"] == {"name": "org/Model"}


def test_what_may_be_a_secret_says_so(tmp_path: Path) -> None:
    file = written(tmp_path, MODEL, "VLLM_A=eth0", "VLLM_B=${X}", "VLLM_PIN_KEY=1234", "VLLM_C=12345678901")
    result = imported(file, *NEW, "--device", "cpu")
    names = ("VLLM_A", "VLLM_B", "VLLM_PIN_KEY", "VLLM_C")
    assert spec(result)["extraEnv"] == [
        {"name": name, "valueFrom": {"secretKeyRef": {"name": "model-environment", "key": name}}}
        for name in names
    ]
    for name in names:
        assert f"{name}: Not known to the guide. Not shown: it may be a secret.\n" in flat(result)


def test_the_page_names_all_that_is_shown() -> None:
    secrets = DOCS.read_text().partition("## Secrets")[2].partition("\n## ")[0]
    assert {*WORDS, *(name.upper() for name in SHOWN)} <= {*re.findall(r"`(\w+)`", secrets)}
    converters = {TABLE[name].convert for name in SHOWN}
    assert {name for name, row in TABLE.items() if row.convert in converters} == SHOWN


def quoted(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


ANYTHING = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r"), max_size=40)
HOSTILE = st.sampled_from(
    [
        "{{ 7 }}",
        "$(id)",
        "${X}",
        "a: b",
        "- a",
        "#",
        "a\n---\nkind: Secret",
        "\u2028x",
        "'\"\\",
        "!!x",
        "=",
        "x ",
    ]
)
ORDINARY = st.sampled_from(
    [
        *(
            "",
            "1",
            "0.",
            "true",
            "auto",
            "org/",
            "/data/",
            "/data/a.pkl",
            "http://",
            "https://hub.example.com/",
        ),
        *(
            "http://proxy:3128/",
            "http://me:",
            "@proxy:3128",
            "?sig=",
            "--api-key ",
            "Bearer ",
            "0-31|",
            ",.svc",
        ),
        *("/data/r,false,", ",false,8", "hf_", "sk-", "vllm"),
    ]
)
AROUND = ORDINARY | HOSTILE | ANYTHING
NAMES = st.sampled_from(sorted(TABLE.keys() - SHOWN)) | st.from_regex(
    r"(VLLM|HF|PT|HCCL|TORCH|OTHER|Vllm|hf)_[A-Z]{1,8}", fullmatch=True
)


@given(
    st.dictionaries(
        NAMES,
        st.tuples(AROUND, AROUND, st.sampled_from(["quoted", "bare", "double", "environment"])),
        max_size=6,
    ),
    st.from_regex(r"Zq[a-zA-Z0-9]{10,24}", fullmatch=True),
    st.sampled_from(["cpu", "gaudi", None]),
    st.sampled_from([NEW, GIVEN]),
)
@settings(max_examples=300)
def test_what_stands_in_a_variable_is_not_printed(
    tmp_path_factory: pytest.TempPathFactory,
    values: dict[str, tuple[str, str, str]],
    mark: str,
    device: str | None,
    cache: tuple[str, str],
) -> None:
    """Of a variable that is not one of SHOWN, however it is written, and wherever in it the secret is."""
    lines, environment = [MODEL], {}
    for name, (before, after, style) in values.items():
        value = f"{before}{mark}{after}"
        if style == "environment":
            environment[name] = value.replace("\0", "")
        else:
            lines.append(f"{name}=" + {"quoted": quoted(value), "bare": value, "double": f'"{value}"'}[style])
    file = written(tmp_path_factory.mktemp("any"), *lines)
    words = ("--device", device) if device else ()
    result = imported(file, *cache, *words, **environment)
    assert mark.lower() not in result.output.lower()
    assert result.stdout or result.stderr


@given(
    st.dictionaries(st.sampled_from([*TABLE, "VLLM_X", "OTHER_X", "VLLM_MY_KEY"]), AROUND, max_size=6),
    st.sampled_from(["cpu", "gaudi"]),
)
@example({"HTTP_PROXY": "http://a\x85b\n c"}, "cpu")
@settings(max_examples=150)
def test_any_text_is_imported_or_refused(
    tmp_path_factory: pytest.TempPathFactory, values: dict[str, str], device: str
) -> None:
    texts = {"LLM_VLLM_MODEL_NAME": "org/Model"} | {name: value for name, value in values.items() if value}
    folder = tmp_path_factory.mktemp("any")
    file = written(folder, *(f"{name}={quoted(value)}" for name, value in texts.items()))
    result = imported(file, *NEW, "--device", device)
    if result.exit_code == 1:
        assert result.stdout == ""
        assert result.stderr.startswith(f"{file}:")
        return
    kinds = [each["kind"] for each in yaml.safe_load_all(result.stdout)]
    assert set(kinds) == documents(result).keys() <= {"VLLMServer", "FP8Quantization"}
    (folder / "resources.yaml").write_text(result.stdout)
    rendered = CliRunner().invoke(main, ["render", str(folder / "resources.yaml")], catch_exceptions=False)
    assert rendered.exit_code == 0, rendered.stderr

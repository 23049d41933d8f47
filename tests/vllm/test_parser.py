"""What is rendered, vLLM's own parser reads as it was meant: every knob, flag and choice.

Nothing is served here: one process imports vLLM's command line and parses.
"""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.unit.things import full, server
from tests.vllm.kubelet import expand
from vllm_operator.api.vllmserver import VLLMServer
from vllm_operator.desired import engine, profile

PROGRAM = Path(__file__).parent / "programs" / "parse.py"
PROFILE = profile.find("vllm", "0.32", "cpu")
# These are more than a word to the parser; each gets a word that it reads, and what it reads there.
JSON_FLAGS: dict[str, dict[str, Any]] = {
    "--attention-config": {"backend": "CPU_ATTN"},
    "--aux-output-config": {"enable_return_routed_experts": True},
    "--compilation-config": {"backend": "eager"},
    "--ec-manager-config": {"encoder_cache_manager_cls": "x", "manager_config": {"a": 1}},
    "--ec-transfer-config": {"ec_connector": "x", "ec_role": "ec_both"},
    "--engram-config": {"cpu_offload": False},
    "--eplb-config": {"window_size": 17},
    "--fault-tolerance-config": {"engine_recovery_timeout_sec": 17},
    "--ir-op-priority": {"rms_norm": ["native"]},
    "--kernel-config": {"enable_flashinfer_autotune": False},
    "--kv-events-config": {"buffer_steps": 17},
    "--kv-transfer-config": {"kv_connector": "x", "kv_role": "kv_both"},
    "--logging-config": {"log_level": "DEBUG"},
    "--pooler-config": {"use_activation": True},
    "--profiler-config": {"profiler": "torch", "torch_profiler_dir": "/tmp/x"},
    "--quantization-config": {"ignore": ["x"]},
    "--reasoning-config": {"reasoning_start_str": "x"},
    "--structured-outputs-config": {"backend": "guidance", "disable_any_whitespace": True},
    "--weight-transfer-config": {"backend": "nccl"},
}
ELSEWHERE = {
    "--config": "reads a file; the operator owns it",
    "--help": "ends the program",
    "--lora-modules": "NAME=PATH pairs, below",
    "--model": "is refused by `vllm serve`; the operator owns it",
}
"""Flags that have no value of their own to look at, and why."""
TRIED = {flag: kind for flag, kind in PROFILE.flags.items() if flag not in ELSEWHERE}


class Parser:
    """vLLM's parser, in a process of its own."""

    def __init__(self, python: Path):
        self._process = subprocess.Popen(
            [python / "bin" / "python", "-P", PROGRAM],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={"PATH": "/usr/bin:/bin", "VLLM_LOGGING_LEVEL": "ERROR"},
        )
        self.flags: dict[str, dict[str, Any]] = {
            name: action for action in self._answer() for name in action["names"]
        }

    def _answer(self) -> Any:
        assert self._process.stdout
        return json.loads(self._process.stdout.readline())

    def parse(self, *words: str) -> dict[str, Any]:
        """The values that `vllm serve` gets from words; an error fails the test."""
        assert self._process.stdin
        self._process.stdin.write(json.dumps(["serve", *words]) + "\n")
        self._process.stdin.flush()
        answer: dict[str, dict[str, Any]] = self._answer()
        assert "values" in answer, (words, answer)
        return answer["values"]

    def value(self, flag: str, *words: str) -> Any:
        """What words make of a flag's own value."""
        return self.parse("org/model", *words)[self.flags[flag]["dest"]]

    def end(self) -> None:
        """Let the process end."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.close()
        self._process.wait(60)
        self._process.stdout.close()


@pytest.fixture(scope="module")
def parser(python: Path) -> Iterator[Parser]:
    parser = Parser(python)
    yield parser
    parser.end()


def rendered(of: VLLMServer) -> list[str]:
    """The words as the container gets them."""
    return [expand(word, {}) for word in engine.arguments(of.spec, PROFILE, None)]


def test_the_table_is_the_parsers(parser: Parser) -> None:
    long = {name: flag for name, flag in parser.flags.items() if name.startswith("--")}
    assert set(long) == set(PROFILE.flags)
    assert len(long) > 400
    for name, flag in long.items():
        choices = PROFILE.flags[name]
        assert (choices is not None) is flag["takesValue"], name
        assert set(choices or ()) == set(flag["choices"]), name


def test_short_forms_are_the_parsers(parser: Parser) -> None:
    ours = {short: long for short, long in PROFILE.short.items() if short != "-O"}
    for short, long in ours.items():
        assert long in parser.flags[short]["names"], short
    theirs = {name for name in parser.flags if not name.startswith("--")}
    # Whatever begins with -dp or -h is the operator's own.
    assert {name for name in theirs - set(ours) if not name.startswith(("-dp", "-h"))} == set()
    # vLLM takes `-O3` apart itself, before its parser sees it.
    assert parser.value("--optimization-level", "-O3") == parser.value(
        "--optimization-level", "--optimization-level", "3"
    )


@pytest.mark.parametrize("flag", sorted(flag for flag, kind in TRIED.items() if kind is None))
def test_every_flag_without_a_value(parser: Parser, flag: str) -> None:
    assert parser.value(flag, flag) is not flag.startswith("--no-")


@pytest.mark.parametrize("flag", sorted(flag for flag, kind in TRIED.items() if kind))
def test_every_choice(parser: Parser, flag: str) -> None:
    for choice in TRIED[flag] or ():
        value = parser.value(flag, flag, choice)
        assert choice in (str(value), *(map(str, value) if isinstance(value, list) else ())), flag


@pytest.mark.parametrize("flag", sorted(flag for flag, kind in TRIED.items() if kind == ()))
def test_every_flag_with_a_free_value(parser: Parser, flag: str) -> None:
    if flag in JSON_FLAGS:
        value = parser.value(flag, flag, json.dumps(JSON_FLAGS[flag]))
        assert value.items() >= JSON_FLAGS[flag].items()
        return
    for words in ([flag, "17"], [f"{flag}=17"]):
        assert parser.value(flag, *words) in (17, 17.0, "17", [17], ["17"])


def test_a_flag_of_pairs(parser: Parser) -> None:
    value = parser.value("--lora-modules", "--lora-modules", "one=/data/one")
    assert "/data/one" in json.dumps(value)


def test_the_full_object(parser: Parser) -> None:
    """Every field of the spec that becomes an argument, in one command line."""
    change = {
        "spec.engineArgs.dtype": "float32",
        "spec.engineArgs.enforceEager": True,
        "spec.engineArgs.seed": 7,
    }
    values = parser.parse(*rendered(full(change)))
    assert values["dispatch_function"]
    meant = {
        "model_tag": "org/model",
        "revision": "main",
        "served_model_name": ["one", "two"],
        "chat_template": "/etc/vllm/chat-template.jinja",
        "trust_remote_code": True,
        "host": "0.0.0.0",
        "port": 8000,
        "tensor_parallel_size": 2,
        "shutdown_timeout": 60,
        "kv_cache_memory_bytes": 4 * 1024**3,
        "dtype": "float32",
        "max_model_len": 4096,
        "max_num_seqs": 16,
        "max_num_batched_tokens": 8192,
        "block_size": 128,
        "gpu_memory_utilization": 0.9,
        "enable_prefix_caching": True,
        "kv_cache_dtype": "auto",
        "seed": 7,
        "enforce_eager": True,
        "max_log_len": 100,
    }
    assert {name: values[name] for name in meant} == meant
    # Nothing else was set: the rest is what vLLM would have taken anyway.
    plain = parser.parse("org/model")
    assert {name for name, value in values.items() if value != plain[name]} <= set(meant)


SAMPLES: dict[str, tuple[Any, ...]] = {
    "dtype": ("auto", "bfloat16", "float16", "float32"),
    "maxModelLen": (1, 2**31 - 1),
    "maxNumSeqs": (1, 2**31 - 1),
    "maxNumBatchedTokens": (1, 2**31 - 1),
    "blockSize": (1, 4096),
    "gpuMemoryUtilization": (0.01, 0.123456789, 1),
    "enablePrefixCaching": (True, False),
    "kvCacheDtype": ("auto", "fp8_e5m2"),
    "seed": (0, 2**32 - 1),
    "enforceEager": (True, False),
}
"""Values of each knob: its bounds, both truths, all that is offered."""


def test_every_knob_has_samples() -> None:
    assert set(SAMPLES) == set(PROFILE.knobs)


@pytest.mark.parametrize("knob", SAMPLES)
def test_every_knob(parser: Parser, knob: str) -> None:
    dest = parser.flags[PROFILE.knobs[knob]]["dest"]
    for value in SAMPLES[knob]:
        words = rendered(server({"engineArgs": {knob: value}}))
        assert parser.parse(*words)[dest] == value


@pytest.mark.parametrize("size", ["1", "0.1Gi", "1e3", "1500Mi", "1Ei"])
def test_a_quantity_becomes_bytes(parser: Parser, size: str) -> None:
    values = parser.parse(*rendered(server({"cpu": {"kvCache": size}})))
    assert (
        values["kv_cache_memory_bytes"]
        == {
            "1": 1,
            "0.1Gi": 107374183,
            "1e3": 1000,
            "1500Mi": 1500 * 1024**2,
            "1Ei": 1024**6,
        }[size]
    )


def test_words_reach_the_parser_as_they_stand(parser: Parser) -> None:
    """`$`, quotes and spaces are nobody's to read; what looks like a variable of the kubelet least of all."""
    template = "{% $(HOME) $$ 'a' \"b\" \n%}"
    words = rendered(server({"extraArgs": ["--chat-template", template]}))
    assert parser.parse(*words)["chat_template"] == template


def test_an_extra_argument_wins_over_a_knob(parser: Parser) -> None:
    of = server({"engineArgs": {"maxNumSeqs": 4}, "extraArgs": ["--max_num_seqs=8"]})
    assert parser.parse(*rendered(of))["max_num_seqs"] == 8

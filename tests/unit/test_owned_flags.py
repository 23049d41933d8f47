"""No spelling that vLLM's parser takes gets past `is_owned_flag`; and what we render, the parser has."""

import argparse
import re
from functools import cache
from importlib.resources import files
from typing import Any, NoReturn

import pytest

from tests.cases.spellings import CPU, ENGINES, GAUDI, Engine
from tests.cases.table import ON_GAUDI, Change
from tests.unit.things import DEFAULT_IMAGE, full
from vllm_operator.api.owned import OWNED_FLAGS, OWNED_STEMS, OWNED_VARIABLES, flag_name, is_owned_flag
from vllm_operator.desired import engine, profile

FULL_ON: dict[str, Change] = {"vllm-0.32": {}, "vllm-gaudi-0.26": ON_GAUDI}
"""The change that makes FULL a server of an engine."""
each_engine = pytest.mark.parametrize("of", ENGINES, ids=lambda of: of.stem)
each_flag = pytest.mark.parametrize(
    ("of", "flag"), [pytest.param(of, flag, id=f"{of.stem}{flag}") for of in ENGINES for flag in of.flags()]
)


class Parser(argparse.ArgumentParser):
    """Raises instead of ending the process."""

    def error(self, message: str) -> NoReturn:
        raise ValueError(message)


@cache
def parser_of(of: Engine) -> Parser:
    """The flags of the version's table, with their short forms, in a parser of the same make."""
    parser = Parser(add_help=False)
    shorts = {"--help": ["-h"]}
    for short, flag in of.profile.short.items():
        shorts.setdefault(flag, []).append(short)
    for flag, kind, *_ in of.rows():
        names = [flag, *shorts.get(flag, ())]
        if kind == "flag":
            parser.add_argument(*names, dest=flag, action="store_true")
        else:
            parser.add_argument(*names, dest=flag, nargs="?")
    return parser


def resolved(of: Engine, word: str) -> str | None:
    """The long flag that argparse takes a word for, after what vLLM's own parser does to the word."""
    name, equals, value = word.partition("=")
    if name.startswith("--"):
        name = re.sub(r"(?<=--)[^.]*", lambda found: found[0].replace("_", "-"), name, count=1)
    key = name.split(".", 1)[0] if "." in name else name
    try:
        found = parser_of(of)._parse_optional(key + equals + value)
    except ValueError:
        return None  # it fits several
    matches = found if isinstance(found, list) else [found]  # a list since Python 3.12.3
    first = matches[0] if len(matches) == 1 else None
    return str(first[0].dest) if first and first[0] is not None else None


def is_ours(flag: str) -> bool:
    """Whether a long flag is one that the operator owns, told without any of its own code."""
    return flag in OWNED_FLAGS or flag.startswith(("--data-parallel-", "--ssl-"))


@each_flag
def test_whatever_argparse_takes_for_an_owned_flag_is_refused(of: Engine, flag: str) -> None:
    for word in of.spellings(flag):
        taken = resolved(of, word)
        if taken is not None and is_ours(taken):
            assert is_owned_flag(word), f"{word} is {taken}"


@each_flag
def test_no_free_flag_is_refused(of: Engine, flag: str) -> None:
    assert is_owned_flag(flag) is is_ours(flag)
    assert is_owned_flag(flag.replace("-", "_").replace("__", "--", 1)) is is_ours(flag)


@each_engine
def test_short_forms(of: Engine) -> None:
    for short, flag in of.profile.short.items():
        assert is_owned_flag(short) is is_ours(flag), short
        assert flag in of.flags()


@each_engine
def test_the_parser_of_the_tests_resolves_spellings(of: Engine) -> None:
    """The tests above must not pass because nothing is ever resolved."""
    spelled = {
        "--tensor_par=2": "--tensor-parallel-size",
        "--trust-remote": "--trust-remote-code",
        "-tp": "--tensor-parallel-size",
        "-qfp8": "--quantization",
        "-tp=2": "--tensor-parallel-size",
        "--kv_cache_dtype.x": "--kv-cache-dtype",
        "-t": "--tensor-parallel-size",
        "--max": None,
        "word": None,
        "-1": None,
    }
    assert {word: resolved(of, word) for word in spelled} == spelled


@each_engine
def test_every_owned_flag_exists(of: Engine) -> None:
    """A flag that no version knows would be a slip of the pen."""
    names = {*of.flags(), *of.profile.short, "-h", "--help"}
    assert set(OWNED_FLAGS) - names == set()
    for stem in OWNED_STEMS:
        assert [name for name in names if name.startswith(stem)]


def test_words_that_are_no_flags_are_free() -> None:
    for word in ("port", "x--port", " --port", "-1", "-0.5", "", "8000", "model"):
        assert not is_owned_flag(word)


def differences(one: str, other: str) -> list[str]:
    lines = zip(one.splitlines(), other.splitlines(), strict=False)
    found = [f"{mine} / {theirs}" for mine, theirs in lines if mine != theirs]
    more = abs(len(one.splitlines()) - len(other.splitlines()))
    return found + [f"{more} lines more"] * bool(more)


def packaged(of: Engine) -> str:
    return (files("vllm_operator.desired.profiles") / f"{of.stem}.tsv").read_text()


def test_every_profile_is_tested() -> None:
    assert profile.known() == tuple(sorted(of.stem for of in ENGINES))


@each_engine
def test_the_packaged_table_is_the_one_of_the_tests(of: Engine) -> None:
    assert differences(packaged(of), of.copy.read_text()) == []


@each_engine
@pytest.mark.parametrize(
    ("what", "with_what"),
    [
        ("--dtype\tvalue\tauto", "--dtype\tvalue\tautos"),
        ("--max-model-len\tvalue", "--max-model-len\tflag"),
        ("--seed\tvalue\n", ""),
        ("--api-key", "--api-kez"),
    ],
)
def test_a_corrupted_table_is_seen(of: Engine, what: str, with_what: str) -> None:
    corrupted = of.copy.read_text().replace(what, with_what)
    assert differences(corrupted, packaged(of))
    assert differences(packaged(of), corrupted)


def rendered(of: Engine, flags: dict[str, tuple[str, ...] | None], *, truth: bool) -> list[str]:
    """Flags that stand wrongly among the rendered arguments, by a table."""
    knobs = {f"spec.engineArgs.{knob}": truth for knob in ("enablePrefixCaching", "enforceEager")}
    ranks = {"spec.pipelineParallelSize": 2}
    words = engine.arguments(full({**FULL_ON[of.stem], **knobs, **ranks}).spec, of.profile, None)
    wrong = []
    for index, word in enumerate(words):
        if not word.startswith("--"):
            continue
        value = words[index + 1] if index + 1 < len(words) and not words[index + 1].startswith("--") else None
        choices = flags.get(word)
        if word not in flags:
            wrong.append(f"{word} is unknown")
        elif (choices is None) is not (value is None):
            wrong.append(f"{word}: {value!r} does not fit its kind")
        elif choices and value not in choices:
            wrong.append(f"{word}: {value!r} is no choice")
    return wrong


@pytest.mark.parametrize("truth", [True, False])
@each_engine
def test_every_rendered_flag_is_the_parsers(of: Engine, truth: bool) -> None:
    table = profile._flags(of.copy.read_text())
    assert rendered(of, table, truth=truth) == []
    flag = "--enforce-eager" if truth else "--no-enforce-eager"
    assert rendered(of, {key: value for key, value in table.items() if key != flag}, truth=truth)
    assert rendered(of, table | {flag: ()}, truth=truth)
    assert rendered(of, table | {"--dtype": ("half",)}, truth=truth)
    assert rendered(of, table | {"--seed": None}, truth=truth)
    assert rendered(of, table | {"--pipeline-parallel-size": None}, truth=truth)


@each_engine
def test_every_knob_is_set_in_the_full_object_and_has_a_flag(of: Engine) -> None:
    spec = full(FULL_ON[of.stem]).spec
    knobs = spec.engine_args.model_dump(by_alias=True, exclude_none=True)
    fields = type(spec.engine_args).model_json_schema()["properties"]
    assert set(knobs) == set(of.profile.knobs) == set(fields)
    words = engine.arguments(spec, of.profile, None)
    for field, value in knobs.items():
        flag = of.profile.knobs[field]
        assert (flag if value is not False else f"--no-{flag[2:]}") in words


@pytest.mark.parametrize(
    ("of", "dtypes"), [(CPU, ("auto", "bfloat16", "float16", "float32")), (GAUDI, ("auto", "bfloat16"))]
)
def test_every_choice_of_dtype_is_the_engines(of: Engine, dtypes: tuple[str, ...]) -> None:
    """What the CRD offers the engine must take, where the device can do it."""
    for dtype in dtypes:
        spec = full({**FULL_ON[of.stem], "spec.engineArgs.dtype": dtype}).spec
        assert dtype in engine.arguments(spec, of.profile, None)
    assert of.profile.flags["--dtype"]


@each_engine
def test_values_that_a_device_refuses_are_the_parsers(of: Engine) -> None:
    """Else one of them would be a slip of the pen."""
    for device, table in of.profile.refused.items():
        assert device in of.profile.devices
        for flag, values in table.items():
            assert set(values) < set(of.profile.flags[flag] or ())


BIND = {"spec.cpu.threadsBind": "nobind", "spec.cpu.reservedCores": None}


@pytest.mark.parametrize("change", [{}, BIND, ON_GAUDI, {**ON_GAUDI, "spec.warmup": {"skip": True}}])
def test_every_rendered_variable_is_owned(change: dict[str, Any]) -> None:
    spec = full(change | {"spec.extraEnv": []}).spec
    names = [entry["name"] for entry in engine.environment(spec, DEFAULT_IMAGE, None)]
    # Proxies may come from extraEnv too, since their addresses may hold a password; a rule keeps them apart.
    proxies = {name for name in names if name.lower().endswith("_proxy")}
    assert len(proxies) == 6
    assert set(names) - proxies <= set(OWNED_VARIABLES)
    assert len(names) == len(set(names))
    assert ("PT_HPU_RECIPE_CACHE_CONFIG" in names) is (change == ON_GAUDI)
    assert len([name for name in names if "_BUCKET_" in name]) == (15 if change == ON_GAUDI else 0)


def test_flag_names() -> None:
    assert flag_name("--kv_cache_dtype=x_y") == "--kv-cache-dtype"
    assert flag_name("--a.b_c=d") == "--a"
    assert flag_name("-q") == "-q"

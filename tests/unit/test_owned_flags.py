"""No spelling that vLLM's parser takes gets past `is_owned_flag`; and what we render, the parser has."""

import argparse
import re
from importlib.resources import files
from typing import NoReturn

import pytest

from tests.cases.spellings import COPY, LONG, PROFILE, TABLE, spellings
from tests.unit.things import full, server
from vllm_operator.api.owned import OWNED_FLAGS, OWNED_STEMS, OWNED_VARIABLES, flag_name, is_owned_flag
from vllm_operator.api.reasons import Reason, StalledError
from vllm_operator.desired import engine, profile
from vllm_operator.desired.profile import Profile

PACKAGED = files("vllm_operator.desired.profiles") / "vllm-0.32.tsv"


class Parser(argparse.ArgumentParser):
    """Raises instead of ending the process."""

    def error(self, message: str) -> NoReturn:
        raise ValueError(message)


def make_parser() -> Parser:
    """The flags of the version's table, with their short forms, in a parser of the same make."""
    parser = Parser(add_help=False)
    shorts = {"--help": ["-h"]}
    for short, flag in PROFILE.short.items():
        shorts.setdefault(flag, []).append(short)
    for flag, kind, *_ in TABLE:
        names = [flag, *shorts.get(flag, ())]
        if kind == "flag":
            parser.add_argument(*names, dest=flag, action="store_true")
        else:
            parser.add_argument(*names, dest=flag, nargs="?")
    return parser


PARSER = make_parser()


def resolved(word: str) -> str | None:
    """The long flag that argparse takes a word for, after what vLLM's own parser does to the word."""
    name, equals, value = word.partition("=")
    if name.startswith("--"):
        name = re.sub(r"(?<=--)[^.]*", lambda found: found[0].replace("_", "-"), name, count=1)
    key = name.split(".", 1)[0] if "." in name else name
    try:
        found = PARSER._parse_optional(key + equals + value)
    except ValueError:
        return None  # it fits several
    matches = found if isinstance(found, list) else [found]  # a list since Python 3.12.3
    first = matches[0] if len(matches) == 1 else None
    return str(first[0].dest) if first and first[0] is not None else None


def is_ours(flag: str) -> bool:
    """Whether a long flag is one that the operator owns, told without any of its own code."""
    return flag in OWNED_FLAGS or flag.startswith(("--data-parallel-", "--ssl-"))


@pytest.mark.parametrize("flag", sorted(LONG))
def test_whatever_argparse_takes_for_an_owned_flag_is_refused(flag: str) -> None:
    for word in spellings(flag):
        taken = resolved(word)
        if taken is not None and is_ours(taken):
            assert is_owned_flag(word), f"{word} is {taken}"


@pytest.mark.parametrize("flag", sorted(LONG))
def test_no_free_flag_is_refused(flag: str) -> None:
    assert is_owned_flag(flag) is is_ours(flag)
    assert is_owned_flag(flag.replace("-", "_").replace("__", "--", 1)) is is_ours(flag)


def test_short_forms() -> None:
    for short, flag in PROFILE.short.items():
        assert is_owned_flag(short) is is_ours(flag), short


def test_the_parser_of_the_tests_resolves_spellings() -> None:
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
    assert {word: resolved(word) for word in spelled} == spelled


def test_every_owned_flag_exists() -> None:
    """A flag that no version knows would be a slip of the pen."""
    names = LONG | set(PROFILE.short) | {"-h", "--help"}
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


def test_the_packaged_table_is_the_one_of_the_tests() -> None:
    assert differences(PACKAGED.read_text(), COPY.read_text()) == []


@pytest.mark.parametrize(
    ("what", "with_what"),
    [
        ("--dtype\tvalue\tauto", "--dtype\tvalue\tautos"),
        ("--max-model-len\tvalue", "--max-model-len\tflag"),
        ("--seed\tvalue\n", ""),
        ("--api-key", "--api-kez"),
    ],
)
def test_a_corrupted_table_is_seen(what: str, with_what: str) -> None:
    corrupted = COPY.read_text().replace(what, with_what)
    assert differences(corrupted, PACKAGED.read_text())
    assert differences(PACKAGED.read_text(), corrupted)


def rendered(flags: dict[str, tuple[str, ...] | None], *, truth: bool) -> list[str]:
    """Flags that stand wrongly among the rendered arguments, by a table."""
    knobs = {"enablePrefixCaching": truth, "enforceEager": truth}
    words = engine.arguments(full({f"spec.engineArgs.{k}": v for k, v in knobs.items()}).spec, PROFILE)
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
def test_every_rendered_flag_is_the_parsers(truth: bool) -> None:
    table = profile._flags(COPY.read_text())
    assert rendered(table, truth=truth) == []
    flag = "--enforce-eager" if truth else "--no-enforce-eager"
    assert rendered({key: value for key, value in table.items() if key != flag}, truth=truth)
    assert rendered(table | {flag: ()}, truth=truth)
    assert rendered(table | {"--dtype": ("half",)}, truth=truth)
    assert rendered(table | {"--seed": None}, truth=truth)


def test_every_knob_is_set_in_the_full_object_and_has_a_flag() -> None:
    knobs = full().spec.engine_args.model_dump(by_alias=True, exclude_none=True)
    assert (
        set(knobs)
        == set(PROFILE.knobs)
        == set(type(full().spec.engine_args).model_json_schema()["properties"])
    )
    words = engine.arguments(full().spec, PROFILE)
    for field, value in knobs.items():
        flag = PROFILE.knobs[field]
        assert (flag if value is not False else f"--no-{flag[2:]}") in words


def test_every_choice_of_dtype_is_the_engines() -> None:
    """What the CRD offers the engine must take."""
    for dtype in ("auto", "bfloat16", "float16", "float32"):
        engine.arguments(server({"engineArgs": {"dtype": dtype}}).spec, PROFILE)
    assert PROFILE.flags["--dtype"]


@pytest.mark.parametrize("change", [{}, {"spec.cpu.threadsBind": "nobind", "spec.cpu.reservedCores": None}])
def test_every_rendered_variable_is_owned(change: dict[str, object]) -> None:
    spec = full(change | {"spec.extraEnv": []}).spec
    names = [entry["name"] for entry in engine.environment(spec)]
    # Proxies may come from extraEnv too, since their addresses may hold a password; a rule keeps them apart.
    proxies = {name for name in names if name.lower().endswith("_proxy")}
    assert len(proxies) == 6
    assert set(names) - proxies <= set(OWNED_VARIABLES)
    assert len(names) == len(set(names))


def test_flag_names() -> None:
    assert flag_name("--kv_cache_dtype=x_y") == "--kv-cache-dtype"
    assert flag_name("--a.b_c=d") == "--a"
    assert flag_name("-q") == "-q"


def refusal(word: str, of: Profile = PROFILE) -> str:
    with pytest.raises(StalledError) as error:
        of.check_argument("spec.extraArgs[3]", word)
    assert error.value.reason == Reason.INVALID_FOR_ENGINE
    return error.value.message


@pytest.mark.parametrize(
    "word", ["word", "-1", "-0.5", "-.5", "", "{}", "-O3", "-O", "-ac", "-cc.mode=3", "-n"]
)
def test_words_that_pass(word: str) -> None:
    PROFILE.check_argument("spec.extraArgs[0]", word)


@pytest.mark.parametrize(
    "word", ["--max-model-len", "--max_model_len=5", "--max-model-l", "--compilation-config.mode=3"]
)
def test_flags_that_pass(word: str) -> None:
    PROFILE.check_argument("spec.extraArgs[0]", word)


def test_an_unknown_flag_is_refused_with_a_hint() -> None:
    message = refusal("--max-modell-len=4")
    assert message.startswith("spec.extraArgs[3]: --max-modell-len is not a flag of vllm 0.32")
    assert "did you mean --max-model-len?" in message
    assert "see `vllm serve --help=all`" in refusal("--zzzzzz")


def test_an_ambiguous_prefix_is_refused_with_what_it_fits() -> None:
    message = refusal("--max-num")
    assert "did you mean --max-num-" in message
    assert " or --max-num-" in message


def test_an_unknown_short_form_is_refused() -> None:
    assert "-zz is not a flag" in refusal("-zz")
    assert "-acx is not a flag" in refusal("-acx=1")


def test_values_are_checked_against_choices_and_devices() -> None:
    with pytest.raises(
        StalledError, match=r"spec.engineArgs.kvCacheDtype: vllm 0.32 on cpu takes one of auto"
    ):
        engine.arguments(server({"engineArgs": {"kvCacheDtype": "fp7"}}).spec, PROFILE)
    with pytest.raises(StalledError, match=r"not 'fp8_inc'"):
        engine.arguments(server({"engineArgs": {"kvCacheDtype": "fp8_inc"}}).spec, PROFILE)
    with pytest.raises(StalledError, match=r"spec.x: vllm 0.32 has no --nope"):
        PROFILE.check_value("spec.x", "--nope", "1", "cpu")


def test_engines_are_found_by_minor_version() -> None:
    assert profile.find("vllm", "0.32.7", "cpu") is PROFILE
    with pytest.raises(StalledError, match=r"spec.engine: no profile for vllm 0.33; known are vllm-0.32"):
        profile.find("vllm", "0.33", "cpu")
    with pytest.raises(StalledError, match=r"spec.device: vllm 0.32 runs on cpu; not on gaudi"):
        profile.find("vllm", "0.32", "gaudi")


def test_a_table_with_a_slip_is_no_profile() -> None:
    with pytest.raises(ValueError, match="--a: 'flags' is neither flag nor value"):
        profile._flags("--a\tflags\n")

"""What an engine's profile says of flags and values that a spec asks for."""

from dataclasses import replace

import pytest

from tests.cases.spellings import CPU, GAUDI
from tests.unit.things import server
from vllm_operator.api.reasons import Reason, StalledError
from vllm_operator.desired import engine, profile
from vllm_operator.desired.profile import Profile

PROFILE = CPU.profile


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
        engine.arguments(server({"engineArgs": {"kvCacheDtype": "fp7"}}).spec, PROFILE, None)
    with pytest.raises(StalledError, match=r"not 'fp8_inc'"):
        engine.arguments(server({"engineArgs": {"kvCacheDtype": "fp8_inc"}}).spec, PROFILE, None)
    with pytest.raises(StalledError, match=r"spec.x: vllm 0.32 has no --nope"):
        PROFILE.check_value("spec.x", "--nope", "1", "cpu")


def test_engines_are_found_by_minor_version() -> None:
    assert profile.find("vllm", "0.32.7", "cpu") is PROFILE
    with pytest.raises(StalledError, match=r"spec.engine: no profile for vllm 0.33; known are vllm-0.32"):
        profile.find("vllm", "0.33", "cpu")
    with pytest.raises(StalledError, match=r"spec.device: vllm 0.32 runs on cpu; not on gaudi"):
        profile.find("vllm", "0.32", "gaudi")
    assert profile.find("vllm-gaudi", "0.26.1", "gaudi") is GAUDI.profile
    with pytest.raises(StalledError, match=r"spec.device: vllm-gaudi 0.26 runs on gaudi; not on cpu"):
        profile.find("vllm-gaudi", "0.26", "cpu")
    with pytest.raises(StalledError, match=r"known are vllm-0.32, vllm-gaudi-0.26"):
        profile.find("vllm-gaudi", "0.32", "gaudi")


def test_an_engine_without_a_drain_is_not_asked_for_one() -> None:
    flags = {flag: choices for flag, choices in PROFILE.flags.items() if flag != "--shutdown-timeout"}
    spec = server({"rollout": {"drainSeconds": 77}}).spec
    with_it = engine.arguments(spec, PROFILE, None)
    without = engine.arguments(spec, replace(PROFILE, flags=flags), None)
    assert sorted([*without, "--shutdown-timeout", "77"]) == sorted(with_it)


def test_a_table_with_a_slip_is_no_profile() -> None:
    with pytest.raises(ValueError, match="--a: 'flags' is neither flag nor value"):
        profile._flags("--a\tflags\n")

"""Models beside the one that is prefetched, and the format of weights, among the extra arguments."""

import pytest

from tests.cases.spellings import CPU, GAUDI
from tests.unit.things import server
from vllm_operator.api.reasons import Reason, StalledError
from vllm_operator.desired import engine

FORMS = (
    ("--tokenizer", "org/other"),
    ("--tokenizer=org/other",),
    ("--tokenizer", "/database/other"),
    ("--hf-config-path", "org/other"),
    ("--hf_config_path=org/other",),
    ("--lora-modules", "a=/data/a", "b=org/b"),
    ("--lora-modules", '{"name": "b", "path": "org/b"}'),
    ("--speculative-config", '{"model": "org/draft"}'),
    ('--speculative-config={"model": "org/draft"}',),
    ("--speculative-config.model=org/draft",),
    ("--speculative_config.model", "org/draft"),
    ("-sc", '{"model": "org/draft"}'),
    ('-sc={"model": "org/draft"}',),
    ("-sc.model", "org/draft"),
    ("--speculative-c", '{"model": "org/draft"}'),
    ("--lora-mod=b=org/b",),
)
FREE = (
    (),
    ("--tokenizer", "/data/other"),
    ("--tokenizer=/data/other",),
    ("--tokenizer-mode", "slow"),
    ("--tokenizer-revision", "main"),
    ("--lora-modules", "a=/data/a", "b=/data/b", "--max-loras", "2"),
    ("--lora-modules", '{"name": "b", "path": "/data/b"}'),
    ("--lora-modules",),
    ("--speculative-config", '{"method": "ngram", "num_speculative_tokens": 3}'),
    ("--speculative-config.num_speculative_tokens=3",),
    ("--speculative-config.method", "ngram"),
    ("--speculative-config.model=/data/draft",),
    ("-sc.method", "ngram"),
    ("org/other",),
)


def arguments(words: tuple[str, ...], *, prefetch: bool) -> list[str]:
    spec = server({"extraArgs": list(words), "prefetch": prefetch}).spec
    return engine.arguments(spec, CPU.profile, None)


@pytest.mark.parametrize("words", FORMS, ids=" ".join)
def test_a_second_model_is_refused_where_no_hub_is_asked(words: tuple[str, ...]) -> None:
    with pytest.raises(
        StalledError, match=r"^InvalidForEngine: spec\.extraArgs\[0\]: .*spec.prefetch"
    ) as told:
        arguments(words, prefetch=True)
    assert told.value.reason == Reason.INVALID_FOR_ENGINE
    assert words[0].partition("=")[0] in told.value.message
    assert arguments(words, prefetch=False)


@pytest.mark.parametrize("words", FREE, ids=" ".join)
def test_what_names_no_second_model_passes(words: tuple[str, ...]) -> None:
    assert arguments(words, prefetch=True) == arguments(words, prefetch=False)


def test_the_second_model_is_named() -> None:
    with pytest.raises(StalledError, match="--lora-modules names a second model, 'b=org/b', which"):
        arguments(("--lora-modules", "a=/data/a", "b=org/b"), prefetch=True)
    with pytest.raises(StalledError, match=r"spec\.extraArgs\[2\]: --tokenizer names"):
        arguments(("--max-log-len", "1", "--tokenizer", "org/b"), prefetch=True)


@pytest.mark.parametrize(
    ("word", "flag"),
    [
        ("-sc", "--speculative-config"),
        ("--tokenizer", "--tokenizer"),
        ("--load-f", "--load-format"),
        ("--load_format=x", "--load-format"),
        ("--max", "--max"),
        ("word", "word"),
    ],
)
def test_the_long_flag_of_a_word(word: str, flag: str) -> None:
    assert CPU.profile.long(word) == GAUDI.profile.long(word) == flag


@pytest.mark.parametrize(
    ("words", "format_"),
    [
        ([], None),
        (["--seed", "1"], None),
        (["--load-format", "mistral"], "mistral"),
        (["--seed", "1", "--load-format=hf"], "hf"),
        (["--load_format", "hf"], "hf"),
        (["--load-format"], None),
        (["load-format", "hf"], None),
        (["--load-f=hf"], "hf"),
        (["--load_for", "hf"], "hf"),
        (["--load-formats", "hf"], None),
        (["--lo", "hf"], None),
        (["--load-format", "hf", "--seed", "1", "--load-format=mistral"], "mistral"),
    ],
)
def test_the_format_of_weights(words: list[str], format_: str | None) -> None:
    assert engine.load_format(words) == format_

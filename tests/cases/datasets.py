"""Cases of the dataset of an FP8Quantization."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from tests.cases.builders import beside, optional, required, things, words
from tests.cases.rules import FILE, FILE_DOTS, ONE_DATASET, SHA256, data_keys, object_names
from tests.cases.table import DATASETS, Case, Change, accept, refuse

DATASET = "spec.dataset"


def datasets() -> Iterator[Case]:
    """Where samples come from."""
    yield from things(DATASET)
    for source, value in DATASETS.items():
        here: Change = {DATASET: {source: value}}
        yield accept(f"dataset of {source}", here, rule=ONE_DATASET)
        yield from beside(here, (*things(f"{DATASET}.{source}"), *_source(source)))
        for other in (each for each in DATASETS if each != source):
            two = {DATASET: {source: value, other: DATASETS[other]}}
            yield refuse(f"dataset of {source} and {other}", two, DATASET, rule=ONE_DATASET)
    yield refuse("dataset of nothing", {DATASET: {}}, DATASET, rule=ONE_DATASET)
    yield refuse("dataset of all", {DATASET: DATASETS}, DATASET, rule=ONE_DATASET)
    null = {**DATASETS, "secret": None, "configMap": None, "url": None, "huggingFace": None}
    yield accept("dataset of a claim and nulls", {DATASET: null}, rule=ONE_DATASET)


def _source(source: str) -> Iterator[Case]:
    here = f"{DATASET}.{source}"
    if source == "persistentVolumeClaim":
        yield from object_names(f"{here}.claimName")
        yield from _file(f"{here}.path")
        yield from required(f"{here}.claimName", f"{here}.path")
    elif source == "url":
        yield from _url(f"{here}.url")
        yield from _sha256(f"{here}.sha256")
        yield from required(f"{here}.url", f"{here}.sha256")
    elif source == "huggingFace":
        yield from _hub(here)
    else:
        yield from object_names(f"{here}.name")
        yield from data_keys(f"{here}.key")
        yield from required(f"{here}.name", f"{here}.key")


def paths(path: str, rule: str, *, good: Sequence[str], bad: Sequence[str], fill: str) -> Iterator[Case]:
    """Paths that are of a form, and such that are not."""
    yield from _worded(path, rule, longest=1024, good=good, fill=fill)
    for text in ("", *bad):
        yield refuse(f"{path}: bad path {text!a}", {path: text}, path, rule=rule)


def _worded(path: str, rule: str, *, longest: int, good: Sequence[str], fill: str) -> Iterator[Case]:
    """Texts that are of a form which a rule puts into words, and what no rule is asked for."""
    for case in words(path, longest=longest, good=good, fill=fill):
        if case.accepted:
            yield replace(case, rule=rule)
    too_long = (fill * (longest + 1))[: longest + 1]
    yield refuse(f"{path}: too long", {path: too_long}, path, covers=[(path, "maxLength")])
    yield refuse(f"{path}: a number", {path: 1}, path, covers=[(path, "type")])


def _file(path: str) -> Iterator[Case]:
    good = ("a", "a/b/c.pkl", "a b", "...", ".a", "a..b", "ä", "{{ a }}", "$(A)", "-a")
    bad = ("/a", "a/", "a//b", "/", "a\nb", "a\x00", "a\x7f")
    yield from paths(path, FILE, good=good, bad=bad, fill="a")
    above = path.rpartition(".")[0]
    for dots in ("..", ".", "../a", "a/..", "a/../b", "./a", "a/.", "a/./b"):
        yield refuse(f"{path} {dots}", {path: dots}, above, rule=FILE_DOTS)
    yield accept(f"{path} without dots", {path: "a.b/..c/d.."}, rule=FILE_DOTS)


def _url(path: str) -> Iterator[Case]:
    good = (
        "http://a/b",
        "https://a:8443/b?c=d&e=/f",
        "https://[::1]/a",
        "https://a",
        "https://a/",
        "http://ä/",
    )
    bad = (
        *("a/b", "ftp://a/b", "file:///a", "https://", "https:///a", "HTTPS://a/b", "https:/a", "//a/b"),
        *("https://u:p@a/b", "https://u@a", "https://a/b@c", "https://a#b", "https://a/b#c", "https://a?b"),
        *("https://a/b c", "https://a\n", " https://a", "https://a/\x00", "s3://a/b"),
    )
    yield from words(path, longest=2048, good=good, bad=bad, fill="https://a/" + "b" * 2048)


def _sha256(path: str) -> Iterator[Case]:
    good, bad = "0123456789abcdef" * 4, ("A" * 64, "g" * 64, "a" * 63, "a" * 63 + "\n", "0x" + "a" * 62)
    yield from _worded(path, SHA256, longest=64, good=(good,), fill="a")
    for number, text in enumerate(bad):
        yield refuse(f"{path}: bad text {number} {text!a:.40}", {path: text}, path, rule=SHA256)
    yield refuse(f"{path}: empty", {path: ""}, path, rule=SHA256)


def _hub(here: str) -> Iterator[Case]:
    good = ("squad", "a/b", "A_b.c-d/E.f", "_a", "0/1", "NeelNanda/pile-10k")
    bad = (
        "a/b/c",
        "a b",
        "a:b",
        "-a",
        "--a",
        "a/-b",
        ".a",
        "a/..",
        "https://a/b",
        "a\n",
        "/data/a",
        "a/",
        "$A",
    )
    yield from words(f"{here}.name", longest=512, good=good, bad=bad)
    splits = ("train", "test", "a.b-c_d", "_a")
    wrong = ("-a", ".a", "a b", "a/b", "a\n", "train[:1]", "$A", "ä")
    yield from words(f"{here}.split", longest=128, good=splits, bad=wrong)
    yield from required(f"{here}.name")
    yield from optional(f"{here}.split")

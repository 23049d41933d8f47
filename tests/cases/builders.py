"""Cases that every field of a type has alike: its bounds, choices, texts, lists and absences."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from tests.cases.table import REMOVED, Case, Change, accept, refuse, schema_path

LARGEST = "must be at most 1Ei"
"""The beginning of the message of the rule that every quantity has."""


def bounds(
    path: str, least: float, most: float, step: float = 1, *, open_below: bool = False
) -> Iterator[Case]:
    """The least and the greatest number, and those just outside."""
    where = schema_path(path)
    low = least + step if open_below else least
    below = ("minimum", "exclusiveMinimum") if open_below else ("minimum",)
    yield accept(f"{path}={low}", {path: low})
    yield accept(f"{path}={most}", {path: most})
    yield refuse(f"{path} too small", {path: low - step}, path, covers=[(where, b) for b in below])
    yield refuse(f"{path} too large", {path: most + step}, path, covers=[(where, "maximum")])
    yield refuse(f"{path} is a word", {path: str(low)}, path, covers=[(where, "type")])
    yield refuse(f"{path} is a truth value", {path: True}, path)


def choices(path: str, *words: str) -> Iterator[Case]:
    """Every choice, and others."""
    for word in words:
        yield accept(f"{path}={word}", {path: word})
    for number, other in enumerate((f"{words[0]}x", words[0].swapcase(), "")):
        covers = [(schema_path(path), "enum")]
        yield refuse(f"{path}: other choice {number}", {path: other}, path, covers=covers)
    yield refuse(f"{path} is a number", {path: 1}, path, covers=[(schema_path(path), "type")])


def words(
    path: str,
    *,
    longest: int,
    good: Sequence[str] = (),
    bad: Sequence[str] = (),
    empty: bool = False,
    fill: str = "a",
) -> Iterator[Case]:
    """Texts that fit a pattern and texts that do not, the longest and one more, the empty one, a number."""
    where = schema_path(path)
    for number, text in enumerate(good):
        yield accept(f"{path}: good text {number} {text!a:.40}", {path: text})
    for number, text in enumerate(bad):
        name = f"{path}: bad text {number} {text!a:.40}"
        yield refuse(name, {path: text}, path, covers=[(where, "pattern")])
    yield accept(f"{path}: the longest", {path: (fill * longest)[:longest]})
    too_long = (fill * (longest + 1))[: longest + 1]
    yield refuse(f"{path}: too long", {path: too_long}, path, covers=[(where, "maxLength")])
    if empty:
        yield accept(f"{path}: empty", {path: ""})
    else:
        yield refuse(f"{path}: empty", {path: ""}, path, covers=[(where, "minLength")])
    yield refuse(f"{path}: a number", {path: 1}, path, covers=[(where, "type")])


def lists(path: str, item: Any, most: int, *, empty: bool = True) -> Iterator[Case]:
    """The longest list and one more; `item` makes an item of a number."""
    where = schema_path(path)
    yield accept(f"{path}: the most", {path: [item(n) for n in range(most)]})
    too_many = [item(n) for n in range(most + 1)]
    yield refuse(f"{path}: too many", {path: too_many}, path, covers=[(where, "maxItems")])
    if empty:
        yield accept(f"{path}: none", {path: []})
    else:
        yield refuse(f"{path}: none", {path: []}, path, covers=[(where, "minItems")])
    yield refuse(f"{path}: not a list", {path: "x"}, path, covers=[(where, "type")])
    yield refuse(f"{path}: holds null", {path: [None]}, f"{path}.0")


def quantities(path: str, *, zero: bool) -> Iterator[Case]:
    """Quantities that are good and bad wherever they stand."""
    for good in (
        *("1Gi", "1.5", ".5Gi", "5.", 1, "1e3", "1E3", "2e-3", "100m", "1n", "1u", "1e+10"),
        *("0" * 31 + "9", "1E", "0.9Ei", "9e17"),
    ):
        yield accept(f"{path}={good!r:.45}", {path: good})
    for good in ("1Ei", "1024Pi", "1152921504606846976"):
        yield accept(f"{path}={good}", {path: good}, rule=LARGEST)
    for large in ("1152921504606846977", "1025Pi", "2E", "7Ei", "8Ei", "99Ei", "10E", "1e19", "9" * 32):
        yield refuse(f"{path}={large}", {path: large}, path, rule=LARGEST)
    bad = (
        *(-1, "-1", "-1Gi", "+1", "1 Gi", " 1", "1\n", "1gi", "1K", "1e100", "Gi", ".", "", "0x10", "1.2.3"),
        *("\u0661Gi", "9" * 33),
    )
    for text in bad:
        where = schema_path(path)
        covers = [(where, k) for k in ("pattern", "maxLength", "minimum")]
        yield refuse(f"{path}={text!a:.45}", {path: text}, path, covers=covers)
    for number, thing in enumerate((1.5, True, ["1Gi"], {"a": 1})):
        yield refuse(
            f"{path}: no quantity {number}", {path: thing}, path, covers=[(schema_path(path), "type")]
        )
    for nothing in ("0", 0, "0Gi", "0.0"):
        if zero:
            yield accept(f"{path}={nothing!r}", {path: nothing})


def truths(path: str) -> Iterator[Case]:
    """Truth values and what YAML users take for them."""
    yield accept(f"{path}=true", {path: True})
    yield accept(f"{path}=false", {path: False})
    for wrong in ("true", 1, "yes"):
        yield refuse(f"{path}={wrong!r}", {path: wrong}, path, covers=[(schema_path(path), "type")])


def required(*paths: str) -> Iterator[Case]:
    """Fields that must be there; null counts as absent."""
    for path in paths:
        for how, value in (("absent", REMOVED), ("null", None)):
            covers = [(schema_path(path), "required")]
            yield refuse(f"{path} {how}", {path: value}, path, covers=covers)


def optional(*paths: str) -> Iterator[Case]:
    """Fields that may be absent or null."""
    for path in paths:
        for how, value in (("absent", REMOVED), ("null", None)):
            yield accept(f"{path} {how}", {path: value})


def maps(path: str, most: int) -> Iterator[Case]:
    """The largest map of texts and one more, and what is no map."""
    where = schema_path(path)
    yield accept(f"{path}: the most", {path: {f"k{n}": "v" for n in range(most)}})
    too_many = {path: {f"k{n}": "v" for n in range(most + 1)}}
    yield refuse(f"{path}: too many", too_many, path, covers=[(where, "maxProperties")])
    yield accept(f"{path}: none", {path: {}})
    yield accept(f"{path}: a key of null", {path: {"k": None}})
    yield from things(path)


def things(path: str) -> Iterator[Case]:
    """What is no object."""
    for thing in ("x", [1], 1):
        yield refuse(f"{path}: {thing!r} for an object", {path: thing}, path)


def beside(change: Change, cases: Iterable[Case]) -> Iterator[Case]:
    """Cases that need another change for their own to be judged alone."""
    for case in cases:
        yield replace(case, change={**change, **case.change})

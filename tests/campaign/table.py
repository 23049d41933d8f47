"""How a row of the leaf table is written: a change to the base, and what must then be seen, to the letter."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.cases.table import REMOVED

Change = Mapping[str, Any]


class Gone:
    """Stands for a place, or all places below it, that the base has and the change takes away."""

    def __repr__(self) -> str:
        """Show it in a failure."""
        return "GONE"


GONE = Gone()
OTHER = "another"
"""Stands for another folder of compiled graphs, whose name nobody has to know."""

IN_PODS = ("pod", "container", "env", "args", "labels", "annotations", "recipes")
"""Beginnings of the places that are in a pod."""


@dataclass(frozen=True)
class Row:
    """One change to one leaf of the schema (or all below a node), and all that it may bring about.

    A place that is not named stays as it was.

    `seen` maps places of `view.view` to values. A change that touches a pod names another record, and only
    such a change, unless `rolls` says otherwise. `refused` holds words of the API server that takes nothing
    of it; `stalled` a reason and words of the operator, which then changes nothing. `fresh` makes a new
    server instead of editing one, and `own` edits a server of the row's own, because there is no way back.
    `base` names the spec that is changed.
    """

    leaf: str
    change: Change
    seen: Mapping[str, Any] = field(default_factory=dict)
    rolls: bool | None = None
    refused: str = ""
    stalled: tuple[str, str] | None = None
    fresh: bool = False
    own: bool = False
    base: str = "cpu"

    @property
    def touches_pods(self) -> bool:
        """Whether the pods are made anew."""
        return any(_is_in_pods(place) for place in self.seen) if self.rolls is None else self.rolls

    @property
    def name(self) -> str:
        """What the row is called in the tests."""
        how = "fresh: " if self.fresh else "" if self.base == "cpu" else f"{self.base}: "
        text = how + ", ".join(f"{path}={_short(value)}" for path, value in self.change.items())
        return text.replace("DuringSchedulingIgnoredDuringExecution", "")

    @property
    def removed(self) -> set[str]:
        """What the change takes away, as paths of the schema."""
        return {leaf_of(path) for path, value in self.change.items() if value is REMOVED}


def row(change: Change, seen: Mapping[str, Any] | None = None, *, leaf: str = "", **more: Any) -> Row:
    """A row of the leaf that the change's first path names."""
    return Row(leaf or leaf_of(next(iter(change))), change, seen or {}, **more)


def plain(path: str, value: Any, place: str, shown: Any, unset: Any = GONE) -> Iterator[Row]:
    """An optional leaf that is seen in one place: another value, and `unset` there when it is removed."""
    yield row({path: value}, {place: shown})
    yield row({path: REMOVED}, {place: unset})


def copied(path: str, value: Any) -> Row:
    """A leaf of a Kubernetes type: a pod has it in the same place with the same value."""
    return row({path: value}, {f"pod.{path}": value})


def leaf_of(path: str) -> str:
    """The path of a change as a path of the schema: an index becomes `[]`."""
    return "spec." + re.sub(r"\.[0-9]+(?=\.|$)", "[]", path)


def _is_in_pods(place: str) -> bool:
    return place.split(".", 1)[0] in IN_PODS


def _short(value: Any) -> str:
    text = "unset" if value is REMOVED else str(value)
    return text if len(text) <= 48 else f"{text[:48]}..."

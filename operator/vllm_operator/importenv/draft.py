"""A resource on its way: its fields, and the setting that each came from."""

import re
import textwrap
from collections.abc import Iterator
from typing import Any

import yaml

from vllm_operator.api.kinds import CLASSES, Ours
from vllm_operator.api.meta import API_VERSION, path
from vllm_operator.api.pod import PodFields
from vllm_operator.generate import dump

Place = tuple[str | int, ...]
WRAPPER = textwrap.TextWrapper(width=100, break_long_words=False, break_on_hyphens=False)


class Draft:
    """A resource of ours that is not read yet."""

    def __init__(self, kind: str) -> None:
        self.body: dict[str, Any] = {"apiVersion": API_VERSION, "kind": kind, "metadata": {}, "spec": {}}
        self._comments: dict[Place, str] = {}
        self._sources: dict[Place, str] = {}

    def put(self, field: str, value: Any, source: str, note: str = "") -> None:
        """Set a field below `spec`, or `metadata`, that is given with dots. `source` tells who said so."""
        place: Place = tuple(field.split("."))
        place = place if place[0] == "metadata" else ("spec", *place)
        *above, last = place
        part: Any = self.body
        for key in above:
            part = part.setdefault(key, {})
        part[last] = value
        self._tell(place, source, note)

    def add(self, field: str, item: Any, source: str, note: str = "") -> None:
        """Add an item to a list below `spec`."""
        items = self.body["spec"].setdefault(field, [])
        items.append(item)
        self._tell(("spec", field, len(items) - 1), source, note)

    def has(self, field: str) -> bool:
        """Whether a field below `spec` is set already."""
        return ("spec", *field.split(".")) in self._sources

    def _ordered(self) -> dict[str, Any]:
        """The spec in the order of its model, with what is the pods' own at its end."""
        fields = CLASSES[self.body["kind"]].spec_model.model_fields
        names = sorted(fields, key=lambda name: name in PodFields.model_fields)
        aliases = [fields[name].alias for name in names]
        return dict(sorted(self.body["spec"].items(), key=lambda item: aliases.index(item[0])))

    def _tell(self, place: Place, source: str, note: str) -> None:
        self._sources[place] = source
        self._comments[place] = f"{source}: {note}" if note else source

    def parsed(self) -> Ours:
        """The resource. Raises InvalidObjectError; unknown fields are errors."""
        return CLASSES[self.body["kind"]].parse(self.body, strict=True)

    def sourced(self, problem: str) -> str:
        """A problem (`path: message`) with the settings that it is about."""
        where, _, message = problem.partition(": ")
        sources = [source for place, source in self._sources.items() if _within(where, path(*place))]
        if not sources:
            # What is wrong with several fields together is told at what they have in common, and names them.
            words = set(re.findall(r"\w+", message))
            sources = [
                source for (top, *keys), source in self._sources.items() if top == "spec" and words & {*keys}
            ]
        return ": ".join([", ".join(dict.fromkeys(sources)), problem]) if sources else problem

    def text(self) -> str:
        """The resource as YAML, with a comment above each field that came from somewhere.

        The comments go between the lines of the dump where a field begins, so that no value can be cut.
        """
        text = dump([self.body | {"spec": self._ordered()}])
        lines = text.split("\n")
        starts = dict(_starts(yaml.compose(text, Loader=yaml.CSafeLoader), ()))
        for place, comment in sorted(self._comments.items(), key=lambda each: -starts[each[0]]):
            line = starts[place]
            indent = lines[line][: len(lines[line]) - len(lines[line].lstrip(" "))]
            lines[line:line] = [f"{indent}# {part}" for part in WRAPPER.wrap(comment)]
        return "\n".join(lines)


def _within(where: str, field: str) -> bool:
    return where == field or where.startswith((f"{field}.", f"{field}["))


def _starts(node: yaml.Node | None, place: Place) -> Iterator[tuple[Place, int]]:
    """The line on which each field and each item begins."""
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield (*place, key.value), key.start_mark.line
            yield from _starts(value, (*place, key.value))
    elif isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            yield (*place, index), item.start_mark.line
            yield from _starts(item, (*place, index))

"""What the files and the environment say, variable by variable, and which of it is a secret."""

import io
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from dotenv.parser import Binding, parse_stream

from vllm_operator.importenv.table import TABLE

_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*", re.ASCII)
_SECRET_NAME = re.compile(r"TOKEN|KEY|PASSW|SECRET|CREDENTIAL", re.IGNORECASE)
_SECRET_TEXT = re.compile(r"hf_[a-zA-Z0-9]{16,}|://\S*@")
"""A token of Hugging Face, and an address with a user or a password."""
_LONG_ENOUGH = 8
"""Characters that a secret must have before other values are searched for it."""


class NotImportedError(ValueError):
    """The variables make no resource. `problems` holds a line for each reason, without any value."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(self.problems))


@dataclass(frozen=True, slots=True)
class Setting:
    """A variable and its value. `where` is `FILE:LINE` or `environment`; `expands` says that docker compose
    would put the value of another variable in."""

    name: str
    value: str
    where: str
    expands: bool = False

    def __str__(self) -> str:
        """Where it is, and its name; never its value."""
        return f"{self.where}: {self.name}"


def read(files: Iterable[Path], environment: Mapping[str, str]) -> dict[str, Setting]:
    """Variables by name: the environment goes before files, and a later file before an earlier one.

    Of the environment only those of the guide count that become something, as with docker compose, which
    looks there for the variables that it needs. What is empty is not set. Raises NotImportedError.
    """
    found: dict[str, Setting] = {}
    problems: list[str] = []
    for file in files:
        for binding in _bindings(file):
            setting = _setting(binding, f"{printable(str(file))}:{_line(binding)}")
            if isinstance(setting, str):
                problems.append(setting)
            elif setting is not None:
                found[setting.name] = setting
    if problems:
        raise NotImportedError(problems)
    for name, row in TABLE.items():
        if environment.get(name) and (row.server or row.quantization):
            found[name] = Setting(name, environment[name], "environment")
    return {name: setting for name, setting in found.items() if setting.value}


def _bindings(file: Path) -> list[Binding]:
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "is not UTF-8 text"
        raise NotImportedError([f"{printable(str(file))}: {why}"]) from None
    return list(parse_stream(io.StringIO(text)))


def _line(binding: Binding) -> int:
    """Line of a binding: what stands before it belongs to it, as far as the parser goes."""
    string = binding.original.string
    return binding.original.line + string[: len(string) - len(string.lstrip())].count("\n")


def _setting(binding: Binding, where: str) -> Setting | str | None:
    """A variable, or what is wrong with its line, or None for a line that says nothing.

    A line that is no variable is never shown: it may be a secret that was put there.
    """
    name, value = binding.key, binding.value
    if name is None and not binding.error:
        return None
    if name in TABLE and value is None:
        return None  # docker compose takes it from the environment, and so does `read`
    if name is None or value is None or not _NAME.fullmatch(name) or _SECRET_TEXT.search(name):
        return f"{where}: is not NAME=VALUE: correct the line, or take it out"
    literal = binding.original.string.partition("=")[2].lstrip().startswith("'")
    expands = not literal and re.search(r"\$[{a-zA-Z_]", value) is not None
    return Setting(name, value, where, expands)


def printable(text: str) -> str:
    """Text for a line of a comment, or of an error."""
    return "".join(character if character.isprintable() else "?" for character in text)


class Secrets:
    """Tells which settings hold something that may not be shown."""

    def __init__(self, settings: Iterable[Setting]) -> None:
        """`settings` are all that there are: what is secret in one is secret in the others."""
        self._texts = [
            each.value for each in settings if self._named(each) and len(each.value) >= _LONG_ENOUGH
        ]

    def hold(self, setting: Setting) -> bool:
        """Whether a setting is secret by its name, by its form, or because a secret stands in it."""
        formed = _SECRET_TEXT.search(setting.value) is not None
        return self._named(setting) or formed or any(text in setting.value for text in self._texts)

    @staticmethod
    def _named(setting: Setting) -> bool:
        row = TABLE.get(setting.name)
        return row.secret if row else _SECRET_NAME.search(setting.name) is not None

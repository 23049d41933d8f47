"""What the files and the environment say, variable by variable, and which of it is a secret."""

import io
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from dotenv.parser import Binding, parse_stream

from vllm_operator.importenv import values
from vllm_operator.importenv.table import TABLE

_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*", re.ASCII)
_USUAL_NAME = re.compile(r"[A-Z][A-Z0-9_]*", re.ASCII)
_SECRET_NAME = re.compile(
    r"(TOKEN|KEY|PASS(WORD|WD|PHRASE)?|PWD|SECRETS?|CREDENTIALS?|AUTH|BEARER|COOKIE)(_|$)", re.IGNORECASE
)
"""Words that end so: not those of TOKENIZER and MAX_TOKENS."""
_SECRET_TEXT = re.compile(
    r"hf_[a-zA-Z0-9]{16,}|gh[a-z]_[a-zA-Z0-9]{16,}|(?<![a-zA-Z0-9])(sk-[-_a-zA-Z0-9]{16,}|AKIA[A-Z0-9]{16})"
)
"""Tokens by which they are known: of Hugging Face, GitHub, OpenAI and Amazon."""
_LONG_ENOUGH = 8
"""Characters that a secret must have before it is looked for within words, and not as a whole word only."""


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
    value: str = field(repr=False)
    where: str
    expands: bool = False

    @property
    def shows_name(self) -> bool:
        """Whether the name may be printed: a line of a secret may look like a variable too."""
        return self.name in TABLE or _USUAL_NAME.fullmatch(self.name) is not None

    def __str__(self) -> str:
        """Where it is, and its name; never its value."""
        return f"{self.where}: {self.name if self.shows_name else 'a variable'}"


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
    # A line of text in base64 or base32 has `=` at its end, which would be its value.
    padded = set(value or "") == {"="}
    if name is None or value is None or padded or not _NAME.fullmatch(name) or _SECRET_TEXT.search(name):
        return f"{where}: is not NAME=VALUE: correct the line, or take it out"
    literal = binding.original.string.partition("=")[2].lstrip().startswith("'")
    expands = not literal and re.search(r"\$[{a-zA-Z_]", value) is not None
    return Setting(name, value, where, expands)


def printable(text: str) -> str:
    """Text for a line of a comment, or of an error."""
    return "".join(character if character.isprintable() else "?" for character in text)


class Secrets:
    """Tells which settings are known to hold a secret, by their names or by what others hold.

    A setting that is not among them may hold one as well: what may be shown is decided by `values`.
    """

    def __init__(self, settings: Iterable[Setting]) -> None:
        """`settings` are all that there are: what is secret in one is secret in the others."""
        self._texts = [
            each.value for each in settings if self._named(each) and not values.is_plain(each.value)
        ]

    def hold(self, setting: Setting) -> bool:
        """Whether a setting is secret by its name, by its form, or because a secret stands in it."""
        formed = _SECRET_TEXT.search(setting.value) is not None
        return self._named(setting) or formed or any(_repeats(setting.value, text) for text in self._texts)

    @staticmethod
    def _named(setting: Setting) -> bool:
        row = TABLE.get(setting.name)
        return row.secret if row else _SECRET_NAME.search(setting.name) is not None


def _repeats(value: str, secret: str) -> bool:
    return secret in (value if len(secret) >= _LONG_ENOUGH else re.split(r"[^-._a-zA-Z0-9]+", value))

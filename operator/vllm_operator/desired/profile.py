"""Reads engine profiles, and asks them what a flag means."""

import difflib
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from vllm_operator.api.owned import flag_name
from vllm_operator.api.reasons import Reason, StalledError

_FOLDER = files("vllm_operator.desired.profiles")


@dataclass(frozen=True)
class Dynamic:
    """How an engine serves in FP8 without a calibration."""

    config: Mapping[str, Any]
    """What its QUANT_CONFIG has to hold."""
    variables: Mapping[str, str]
    """What else it takes in its environment."""


@dataclass(frozen=True)
class Profile:
    """What one vLLM family and version understands.

    `flags` maps a long flag to its choices, or to None for a flag without a value; no choices means any
    value. `knobs` maps a field of `engineArgs` to its flag. `refused` maps a device to values that the
    parser takes and the device does not. `dynamic` is None where there is no FP8 without a calibration.
    """

    name: str
    devices: tuple[str, ...]
    flags: Mapping[str, tuple[str, ...] | None]
    short: Mapping[str, str]
    knobs: Mapping[str, str]
    refused: Mapping[str, Mapping[str, tuple[str, ...]]]
    dynamic: Dynamic | None

    def long(self, word: str) -> str:
        """The long flag that a word names: also by a short form, or by a beginning that fits no other."""
        name = flag_name(word)
        name = self.short.get(name, name)
        fitting = [flag for flag in self.flags if flag.startswith(name)]
        return fitting[0] if len(fitting) == 1 else name

    def check_value(self, path: str, flag: str, value: str, device: str) -> None:
        """Raise StalledError(InvalidForEngine) unless the flag exists and takes the value on the device."""
        if flag not in self.flags:
            raise invalid(
                f"{path}: {self.name} has no {flag}; remove the field or choose another image and engine"
            )
        choices = self.flags[flag] or ()
        allowed = [c for c in choices if c not in self.refused.get(device, {}).get(flag, ())]
        if choices and value not in allowed:
            raise invalid(f"{path}: {self.name} on {device} takes one of {', '.join(allowed)}; not {value!r}")

    def check_argument(self, path: str, argument: str) -> None:
        """Raise StalledError(InvalidForEngine) if a word looks like a flag and is none of the parser's."""
        name = flag_name(argument)
        if not argument.startswith("-") or re.fullmatch(r"-[0-9.]+", argument):
            return
        if name in self.flags or name in self.short or name[:2] in self.short:
            return
        fitting = [flag for flag in self.flags if name.startswith("--") and flag.startswith(name)]
        if len(fitting) == 1:
            return
        hint = fitting[:4] or difflib.get_close_matches(name, self.flags, n=1)
        meant = f"; did you mean {' or '.join(hint)}?" if hint else "; see `vllm serve --help=all`"
        raise invalid(f"{path}: {name} is not a flag of {self.name}{meant}")


def invalid(message: str) -> StalledError:
    """What an engine cannot do."""
    return StalledError(Reason.INVALID_FOR_ENGINE, message)


@cache
def _load(stem: str) -> Profile:
    data = tomllib.loads((_FOLDER / f"{stem}.toml").read_text())
    return Profile(
        name=" ".join(stem.rsplit("-", 1)),
        devices=tuple(data["devices"]),
        flags=_flags((_FOLDER / f"{stem}.tsv").read_text()),
        short=data["short"],
        knobs=data["knobs"],
        refused={
            device: {flag: tuple(values) for flag, values in table.items()}
            for device, table in data["refused"].items()
        },
        dynamic=Dynamic(**data["fp8"]["dynamic"]) if "fp8" in data else None,
    )


def _flags(table: str) -> dict[str, tuple[str, ...] | None]:
    """Read lines of `flag <tab> flag|value [<tab> choice,choice]`."""
    flags: dict[str, tuple[str, ...] | None] = {}
    for line in table.splitlines():
        flag, kind, *choices = line.split("\t")
        if kind not in ("flag", "value"):
            raise ValueError(f"{flag}: {kind!r} is neither flag nor value")
        flags[flag] = None if kind == "flag" else tuple(choices[0].split(",")) if choices else ()
    return flags


@cache
def known() -> tuple[str, ...]:
    """Stems of all profiles, such as `vllm-0.32`."""
    return tuple(
        sorted(item.name.removesuffix(".toml") for item in _FOLDER.iterdir() if item.name.endswith(".toml"))
    )


def stem_of(family: str, version: str) -> str:
    """Name of an engine's profile. Patch releases of vLLM share one."""
    return f"{family}-{'.'.join(version.split('.')[:2])}"


def find(family: str, version: str, device: str) -> Profile:
    """The profile of an engine.

    Raises StalledError(InvalidForEngine) when there is none.
    """
    stem = stem_of(family, version)
    if stem not in known():
        raise invalid(f"spec.engine: no profile for {family} {version}; known are {', '.join(known())}")
    profile = _load(stem)
    if device not in profile.devices:
        raise invalid(f"spec.device: {profile.name} runs on {', '.join(profile.devices)}; not on {device}")
    return profile

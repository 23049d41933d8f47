"""Names that the calibration scripts can use: they put them into commands without quotes."""

import re

PLAIN = re.compile(r"[A-Za-z0-9][\w.-]*", re.ASCII)


def real_name(name: str) -> str:
    """The last part of a model's name, by which the tools know its rules and name its folder."""
    return name.rstrip("/").split("/")[-1]


def unusable(what: str, word: str) -> str | None:
    """Why the scripts cannot use it, if they cannot."""
    if all(PLAIN.fullmatch(part) for part in word.strip("/").split("/")):
        return None
    return (
        f"The {what} is {word!r}: the calibration scripts can use only letters, digits, dots, dashes and "
        "underscores in it. Rename the model's folder, or take spec.backend: Command."
    )

"""The Dockerfile, read as far as its own few instructions go."""

import json
import re
import shlex
from pathlib import Path

ROOT = Path(__file__).parents[2]
LINES = [
    (instruction, words)
    for line in re.sub(
        r"\\\n", "", re.sub(r"^#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.M)
    ).splitlines()
    if line
    for instruction, words in [line.split(None, 1)]
]
"""Each instruction with its words, without comments and continued lines."""


def all_of(instruction: str) -> list[str]:
    """The words of every such instruction, in order."""
    return [words for each, words in LINES if each == instruction]


def environment() -> dict[str, str]:
    """What ENV sets."""
    return dict(word.split("=", 1) for words in all_of("ENV") for word in shlex.split(words))


def from_context() -> set[str]:
    """What is copied from the build context."""
    copies = [shlex.split(words) for words in all_of("COPY")]
    return {word.removeprefix("./") for words in copies if "--from" not in words[0] for word in words[:-1]}


def runs_in_the_last_stage() -> list[str]:
    """The command that the runtime image is tried with while it is built."""
    words: list[str] = json.loads(all_of("RUN")[-1])
    return words

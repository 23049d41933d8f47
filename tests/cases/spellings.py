"""Every way to write a flag of vLLM's parser, from the flag table of its version."""

from collections.abc import Iterator
from pathlib import Path

from vllm_operator.desired import profile

COPY = Path(__file__).parents[1] / "data" / "flags" / "vllm-0.32.0.tsv"
TABLE = [line.split("\t") for line in COPY.read_text().splitlines()]
LONG = {flag for flag, *_ in TABLE}
PROFILE = profile.find("vllm", "0.32", "cpu")


def spellings(flag: str) -> Iterator[str]:
    """Spellings of a long flag: short forms, prefixes, `_` for `-`, with a value and with a key."""
    shorts = [short for short, long in PROFILE.short.items() if long == flag]
    names = [flag, *shorts]
    names += [name[:length] for name in names for length in range(2, len(name))]
    for name in names:
        for form in {name, "--" + name[2:].replace("-", "_") if name.startswith("--") else name}:
            yield from (form, f"{form}=x", f"{form}.key", f"{form}.key=x")
    for short in shorts:
        yield from (f"{short}x", f"{short}4", f"{short}=4", f"{short}.key=x")


def every() -> list[str]:
    """Spellings of all flags, each once."""
    return list(dict.fromkeys(word for flag in sorted(LONG) for word in spellings(flag)))

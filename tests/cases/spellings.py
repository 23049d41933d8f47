"""Every way to write a flag of vLLM's parser, from the flag tables of the engines that have a profile."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from vllm_operator.desired import profile
from vllm_operator.desired.profile import Profile

FOLDER = Path(__file__).parents[1] / "data" / "flags"


@dataclass(frozen=True)
class Engine:
    """An engine's profile, and the tests' own copy of the flag table that its vLLM has."""

    profile: Profile = field(repr=False, hash=False)
    stem: str
    """Name of the packaged profile."""
    copy: Path

    def rows(self) -> list[list[str]]:
        """Flag, kind and choices, as the copy has them."""
        return [line.split("\t") for line in self.copy.read_text().splitlines()]

    def flags(self) -> list[str]:
        """The long flags."""
        return sorted({flag for flag, *_ in self.rows()})

    def spellings(self, flag: str) -> Iterator[str]:
        """Spellings of a long flag: short forms, prefixes, `_` for `-`, with a value and with a key."""
        shorts = [short for short, long in self.profile.short.items() if long == flag]
        names = [flag, *shorts]
        names += [name[:length] for name in names for length in range(2, len(name))]
        for name in names:
            for form in {name, "--" + name[2:].replace("-", "_") if name.startswith("--") else name}:
                yield from (form, f"{form}=x", f"{form}.key", f"{form}.key=x")
        for short in shorts:
            yield from (f"{short}x", f"{short}4", f"{short}=4", f"{short}.key=x")


CPU = Engine(profile.find("vllm", "0.32", "cpu"), "vllm-0.32", FOLDER / "vllm-0.32.0.tsv")
GAUDI = Engine(profile.find("vllm-gaudi", "0.26", "gaudi"), "vllm-gaudi-0.26", FOLDER / "vllm-0.26.0.tsv")
ENGINES = (CPU, GAUDI)


def every() -> list[str]:
    """Spellings of all flags of all engines, each once."""
    return list(
        dict.fromkeys(
            word for engine in ENGINES for flag in engine.flags() for word in engine.spellings(flag)
        )
    )

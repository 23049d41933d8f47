"""What the bench has found."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Result:
    """Figures by section, and broken budgets."""

    figures: dict[str, dict[str, Any]] = field(default_factory=dict)
    violations: list[str] = field(default_factory=list)

    def add(self, section: str, figures: Mapping[str, Any]) -> None:
        """Keep and print the figures of a section."""
        self.figures[section] = dict(figures)
        print(f"\n{section}", flush=True)
        for name, value in figures.items():
            if isinstance(value, Mapping):
                print(f"  {name}")
                for key, count in value.items():
                    print(f"      {key:<58} {_text(count):>10}")
            else:
                print(f"  {name:<62} {_text(value):>10}", flush=True)

    def demand(self, found: list[str]) -> None:
        """Note broken budgets; the first of many tell enough."""
        shown = found[:10]
        if len(found) > len(shown):
            shown.append(f"... and {len(found) - len(shown)} more")
        self.violations += shown

    def as_json(self) -> dict[str, Any]:
        """Return all of it."""
        return {"figures": self.figures, "violations": self.violations}


def _text(value: Any) -> str:
    if isinstance(value, float) and abs(value) < 100:
        return f"{value:.3g}"
    return f"{value:,.0f}" if isinstance(value, int | float) else str(value)

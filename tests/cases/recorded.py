"""What the API server says to each refused case, word for word as it was recorded.

`pytest tests/cluster/test_refusals.py --update-refusals` writes the file anew.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

FILE = Path(__file__).parents[1] / "data" / "refusals.json"

# Hundreds of answers end with it; written out each time, it would hide what they say.
_NOTE = (
    "<nil>: Invalid value: null: some validation rules were not checked because the object was invalid; "
    "correct the existing errors to complete validation"
)
_SHORT_NOTE = "(rules were not checked)"


def read() -> dict[str, str]:
    """The recorded answers by the case's name."""
    answers: dict[str, str] = json.loads(FILE.read_text())
    return answers


def write(answers: Mapping[str, str]) -> None:
    """Record answers."""
    FILE.write_text(json.dumps(answers, indent=0, sort_keys=True) + "\n")


def answer(kind: str, name: str, message: str, details: Mapping[str, Any]) -> str:
    """An answer about the object of a kind and name, without its constant beginning and in a stable order.

    The API server walks maps, whose order is random.
    """
    causes = details.get("causes") or ()
    parts = list(dict.fromkeys(f"{cause['field']}: {cause['message']}" for cause in causes))
    listed = f"[{', '.join(parts)}]" if len(parts) > 1 else "".join(parts)
    if message != f'{kind}.vllm-operator.dev "{name}" is invalid: {listed}':
        return message
    return "; ".join(sorted(_SHORT_NOTE if part == _NOTE else part for part in parts))

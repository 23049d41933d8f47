"""From the text of a variable to the value of a field.

Each raises ValueError, whose message does not hold the text: it may be a secret.
"""

import re
from typing import Any


def number(text: str) -> int:
    """A whole number."""
    if not re.fullmatch(r"-?[0-9]{1,18}", text, re.ASCII):
        raise ValueError("must be a whole number")
    return int(text)


def truth(text: str) -> bool:
    """True or false, as the variables of vLLM and Gaudi say it."""
    known = {"true": True, "1": True, "false": False, "0": False}
    if text.lower() not in known:
        raise ValueError("must be true, false, 1 or 0")
    return known[text.lower()]


def gibibytes(text: str) -> str:
    """An amount of memory that is given in GiB."""
    return f"{number(text)}Gi"


def device(text: str) -> str:
    """The guide's word for a device."""
    known = {"hpu": "gaudi", "cpu": "cpu"}
    if text not in known:
        raise ValueError("must be hpu or cpu")
    return known[text]


def dtype(text: str) -> str:
    """vLLM's names of types; it takes two more words for the same."""
    return {"half": "float16", "float": "float32"}.get(text, text)


def strategy(text: str) -> str:
    """The strategy that VLLM_EXPONENTIAL_BUCKETING, which is deprecated, means."""
    return "exp" if truth(text) else "lin"


def recipe_cache(text: str) -> dict[str, Any]:
    """PT_HPU_RECIPE_CACHE_CONFIG: folder, whether it is emptied at a start, and size in MB."""
    parts = text.split(",")
    if len(parts) != 3:
        raise ValueError("must be FOLDER,false,MEGABYTES")
    return {"enabled": True, "size": f"{number(parts[2])}Mi"}


def expert_parallel(text: str) -> list[str]:
    """The flag that takes the variable's place."""
    return ["--enable-expert-parallel"] if truth(text) else []

"""From the text of a variable to the value of a field, or of a variable of the pods.

What these let through is printed. Each raises ValueError, whose message does not hold the text: it may be
a secret.
"""

import re
from typing import Any

WORDS = (
    *("true", "false", "yes", "no", "on", "off", "none", "auto"),
    *("debug", "info", "warning", "error", "critical", "fork", "spawn"),
)
_NUMBER = r"-?[0-9]{1,10}([.][0-9]{1,10})?"
_HOST = r"[a-zA-Z0-9][-._a-zA-Z0-9]*"
_ADDRESS = rf"https?://({_HOST}|\[[0-9a-fA-F:]+\])(:[0-9]{{1,5}})?"
_PATH = r"(/[-._a-zA-Z0-9]+)*/?"
_NO_PROXY = rf"[*]|([*]?[.])?{_HOST}(:[0-9]{{1,5}})?|[0-9a-fA-F.:]+(/[0-9]{{1,3}})?"


def plain(text: str) -> str:
    """What is harmless whatever it is the value of: a number, or one of a few words."""
    if not is_plain(text):
        raise ValueError(f"must be a number, or one of {', '.join(WORDS)}")
    return text


def is_plain(text: str) -> bool:
    """Whether a value is harmless in itself."""
    return text.lower() in WORDS or re.fullmatch(_NUMBER, text, re.ASCII) is not None


def path(text: str) -> str:
    """A name on a hub, or a path: what no address with a password or a query is, and no flag with a key."""
    if not re.fullmatch(r"[-._/a-zA-Z0-9]+", text, re.ASCII):
        raise ValueError("may hold a-z, A-Z, 0-9, -, _, . and / only")
    return text


def hub(text: str) -> str:
    """Address of a hub."""
    if not re.fullmatch(_ADDRESS + _PATH, text, re.ASCII):
        raise ValueError("must be http:// or https:// and a host, perhaps with a port and a path")
    return text


def proxy(text: str) -> str:
    """Address of a proxy that asks for no password."""
    if not re.fullmatch(f"{_ADDRESS}/?", text, re.ASCII):
        raise ValueError("must be http:// or https:// and a host, perhaps with a port")
    return text


def no_proxy(text: str) -> str:
    """Hosts, domains and networks."""
    if not all(re.fullmatch(_NO_PROXY, part.strip(), re.ASCII) for part in text.split(",") if part):
        raise ValueError("must be hosts, domains and networks, with commas between them")
    return text


def model_server(text: str) -> str:
    """The server that the microservice asks: there is one kind."""
    if text.lower() != "vllm":
        raise ValueError("must be vllm: the operator serves models by vLLM only")
    return text


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

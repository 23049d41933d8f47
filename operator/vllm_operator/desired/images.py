"""Which images may be used: references as runtimes read them, and the prefixes that an admin allows.

The grammar is that of github.com/distribution/reference v0.6.0 (reference.go, normalize.go), by which
containerd reads a pod's image. What does not follow it is of no registry, and so not allowed.
"""

import re

from vllm_operator.api.reasons import Reason, StalledError
from vllm_operator.desired.defaults import Defaults

_HOST = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*(:[0-9]+)?"
_PART = r"[a-z0-9]+(([.]|_|__|-+)[a-z0-9]+)*"
_PATH = rf"{_PART}(/{_PART})*"
_TAG = r"[a-zA-Z0-9_][-._a-zA-Z0-9]{0,127}"
_DIGEST = r"[a-zA-Z][a-zA-Z0-9]*([-_+.][a-zA-Z][a-zA-Z0-9]*)*:[0-9a-fA-F]{32,}"
_REFERENCE = re.compile(rf"((?P<host>{_HOST})/)?(?P<path>{_PATH})(:{_TAG})?(@{_DIGEST})?", re.ASCII)
_PREFIX = re.compile(rf"(?P<host>{_HOST})(/(?P<path>{_PATH})?)?", re.ASCII)
_HUB = "docker.io"
_IDENTIFIER = re.compile(r"sha[0-9]+(:.*)?|[0-9a-f]{64}")
"""What containerd may take for an image that its node has, wherever that came from: its identifier, or the
beginning of one (internal/cri/server/images/service.go, LocalResolve)."""


def name(image: str) -> str | None:
    """The repository of an image with its registry, without tag and digest; None where it names none."""
    first, slash, rest = image.partition("/")
    has_registry = bool(slash) and _is_registry(first)
    found = _REFERENCE.fullmatch(f"{_host(first)}/{rest}" if has_registry else f"{_HUB}/{image}")
    if found is None or _IDENTIFIER.fullmatch(image):
        return None
    host, path = found["host"], found["path"]
    # Its official images have a folder of their own.
    return f"{host}/library/{path}" if host == _HUB and "/" not in path else f"{host}/{path}"


def prefix(text: str) -> str:
    """An allowed prefix as `check` compares it: a registry, or one and the beginning of a path.

    Raises ValueError, with what is wrong.
    """
    first, slash, rest = text.partition("/")
    found = _PREFIX.fullmatch(f"{_host(first)}{slash}{rest.removesuffix('/')}")
    if found is None or not _is_registry(first):
        raise ValueError(
            f"{text!r} is no registry, with or without the beginning of a path, such as docker.io/vllm/ or "
            "registry.example.com:5000"
        )
    return f"{found['host']}/{found['path']}" if found["path"] else found["host"]


def is_allowed(image: str, prefixes: tuple[str, ...]) -> bool:
    """Whether an image is of one of the prefixes, at the end of a part of its path; of none, all are."""
    found = name(image)
    return not prefixes or any(f"{found}/".startswith(f"{allowed}/") for allowed in prefixes if found)


def check(
    image: str, defaults: Defaults, *, pinned: bool = False, field: str = "spec.image", remedy: str = ""
) -> None:
    """Raise StalledError(ImageNotAllowed) for an image that the operator's admin does not allow.

    `pinned` images are defaults as they were once: those of today are allowed. `remedy` is for resources of
    which neither can change.
    """
    if is_allowed(image, defaults.allowed_images):
        return
    allowed = ", ".join(defaults.allowed_images)
    with_it = " and spec.engine" if field == "spec.image" else ""
    remedy = remedy or (
        f"Change spec.rollout.refresh to take the default image of today, or name another in {field}"
        if pinned
        else f"Name another, or remove {field}{with_it} to take the default image"
    )
    raise StalledError(
        Reason.IMAGE_NOT_ALLOWED,
        f"{field}: {image} is not allowed: the operator's admin allows what is below {allowed}. {remedy}",
    )


def _is_registry(first: str) -> bool:
    """Whether the first part of a reference is a registry, and not a folder of Docker's."""
    return "." in first or ":" in first or first == "localhost" or first != first.lower()


def _host(text: str) -> str:
    """A registry by the name that all its names lead to. Names of hosts are the same in any case."""
    lower = text.lower()
    return _HUB if lower == "index.docker.io" else lower

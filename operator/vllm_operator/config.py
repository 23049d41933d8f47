"""Settings of the operator, from the environment. Read once, and passed down."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from vllm_operator import __version__
from vllm_operator.desired import images
from vllm_operator.desired.defaults import Defaults, Image

DEFAULT_IMAGES = {
    "cpu": Image("docker.io/vllm/vllm-openai-cpu:v0.32.0-x86_64", "vllm 0.32"),
    # Intel's registry carries the versions in the path, and `latest` is the only tag that is published there.
    "gaudi": Image(
        "vault.habana.ai/gaudi-docker/1.24.1/ubuntu24.04/habanalabs/vllm-0.26.0-ptupstream-2.11.0:latest",
        "vllm-gaudi 0.26",
    ),
}
REPOSITORY = "ghcr.io/vllm-operator/vllm-operator"
"""Of the operator's image. Nothing is published there yet."""
OWN_IMAGE = f"{REPOSITORY}:{__version__}"
"""Image of the operator, which holds the microservice too."""
_LATEST_IS_FIXED = re.compile(r"/habanalabs/[^/:]*[0-9]+\.[0-9]+\.[0-9]+[^/:]*:latest")
_LABEL = re.compile(r"[-._/a-zA-Z0-9]{1,317}=[-._a-zA-Z0-9]{0,63}")


class InvalidSettingError(ValueError):
    """A variable of the environment holds what it cannot mean."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How the operator works.

    `namespaces` empty means all of the cluster. `workers` servers are reconciled at the same time.
    `lease_namespace` empty means the operator's own.
    """

    namespaces: tuple[str, ...] = ()
    defaults: Defaults = field(default_factory=lambda: Defaults(DEFAULT_IMAGES, microservice_image=OWN_IMAGE))
    health_address: str = "0.0.0.0"  # noqa: S104 - the kubelet asks from outside the pod
    health_port: int = 8080
    workers: int = 4
    read_logs: bool = True
    """Whether the last lines of logs may be read, to tell how far a start has come."""
    verify: bool = True
    """Whether servers are asked for a token once they serve."""
    verify_proxy: str | None = None
    """HTTP proxy through which they are asked. The environment's own proxies are for the way out."""
    lease_namespace: str = ""

    @classmethod
    def read(cls, environment: Mapping[str, str] = os.environ) -> "Settings":
        """Read `VLLM_OPERATOR_*`.

        Raises InvalidSettingError, which names the variable.
        """
        allowed = _allowed(environment)
        nodes = {key: _labels(environment, f"VLLM_OPERATOR_GAUDI_{key}NODES") for key in ("", "G2_", "G3_")}
        return cls(
            namespaces=_words(environment, "VLLM_OPERATOR_NAMESPACES"),
            defaults=Defaults(
                microservice_image=_microservice_image(environment),
                images={device: _image(environment, device, allowed) for device in DEFAULT_IMAGES},
                gaudi_nodes=nodes[""],
                allowed_images=allowed,
                platform_assigns_ids=_truth(environment, "VLLM_OPERATOR_PLATFORM_ASSIGNS_IDS", default=False),
                generations={g: nodes[f"{g.upper()}_"] for g in ("g2", "g3") if nodes[f"{g.upper()}_"]},
            ),
            health_address=environment.get("VLLM_OPERATOR_HEALTH_ADDRESS", "0.0.0.0"),  # noqa: S104
            health_port=_number(environment, "VLLM_OPERATOR_HEALTH_PORT", 8080, 0, 65535),
            workers=_number(environment, "VLLM_OPERATOR_WORKERS", 4, 1, 256),
            read_logs=_truth(environment, "VLLM_OPERATOR_READ_LOGS", default=True),
            verify=_truth(environment, "VLLM_OPERATOR_VERIFY", default=True),
            verify_proxy=_proxy(environment, "VLLM_OPERATOR_VERIFY_PROXY"),
            lease_namespace=environment.get("VLLM_OPERATOR_LEASE_NAMESPACE")
            or environment.get("POD_NAMESPACE", ""),
        )


def _words(environment: Mapping[str, str], name: str) -> tuple[str, ...]:
    """What stands between commas."""
    return tuple(filter(None, map(str.strip, environment.get(name, "").split(","))))


def _allowed(environment: Mapping[str, str]) -> tuple[str, ...]:
    """The prefixes of images that are allowed; without any, all are."""
    name = "VLLM_OPERATOR_ALLOWED_IMAGES"
    try:
        return tuple(images.prefix(word) for word in _words(environment, name))
    except ValueError as error:
        raise InvalidSettingError(f"{name}: {error}") from error


def _image(environment: Mapping[str, str], device: str, allowed: tuple[str, ...]) -> Image:
    """The default image of a device, and its engine."""
    default, prefix = DEFAULT_IMAGES[device], f"VLLM_OPERATOR_{device.upper()}"
    image = environment.get(f"{prefix}_IMAGE", default.image)
    engine = environment.get(f"{prefix}_ENGINE", default.engine)
    family = default.engine.split()[0]
    if not re.fullmatch(rf"{family} [0-9]+\.[0-9]+(\.[0-9]+)?", engine):
        raise InvalidSettingError(
            f"{prefix}_ENGINE: {engine!r} is not a family and a version, such as {default.engine!r}"
        )
    if image != default.image and f"{prefix}_ENGINE" not in environment:
        raise InvalidSettingError(
            f"{prefix}_ENGINE: say which vLLM {image} holds, such as {default.engine!r}"
        )
    _check_fixed(f"{prefix}_IMAGE", image)
    if not images.is_allowed(image, allowed):
        raise InvalidSettingError(
            f"{prefix}_IMAGE: {image} is not below what VLLM_OPERATOR_ALLOWED_IMAGES allows "
            f"({', '.join(allowed)}); set the one or the other"
        )
    return Image(image, engine)


def _microservice_image(environment: Mapping[str, str]) -> str:
    image = environment.get("VLLM_OPERATOR_MICROSERVICE_IMAGE") or OWN_IMAGE
    _check_fixed("VLLM_OPERATOR_MICROSERVICE_IMAGE", image)
    return image


def _check_fixed(name: str, image: str) -> None:
    """Refuse an image of which a later pull may bring another one."""
    if not _LATEST_IS_FIXED.search(image) and (
        image.endswith(":latest") or ("@" not in image and ":" not in image.rsplit("/", 1)[-1])
    ):
        raise InvalidSettingError(f"{name}: {image} moves; give a fixed tag or a digest")


def _labels(environment: Mapping[str, str], name: str) -> dict[str, str]:
    """Labels of nodes, as `kubectl --selector` takes them: `key=value,key=value`."""
    words = _words(environment, name)
    for word in words:
        if not _LABEL.fullmatch(word):
            raise InvalidSettingError(f"{name}: {word!r} is not a label such as gaudi=true")
    return dict(word.split("=", 1) for word in words)


def _truth(environment: Mapping[str, str], name: str, *, default: bool) -> bool:
    text = environment.get(name, str(default)).lower()
    if text not in ("true", "false"):
        raise InvalidSettingError(f"{name}: {text!r} is neither true nor false")
    return text == "true"


def _proxy(environment: Mapping[str, str], name: str) -> str | None:
    text = environment.get(name, "")
    if text and not re.fullmatch(r"https?://[^/?#\s]+/?", text):
        raise InvalidSettingError(f"{name}: {text!r} is not the address of a proxy such as http://proxy:3128")
    try:
        _ = urlsplit(text).port
    except ValueError as error:
        raise InvalidSettingError(f"{name}: {text!r}: {error}") from error
    return text or None


def _number(environment: Mapping[str, str], name: str, default: int, least: int, most: int) -> int:
    text = environment.get(name, str(default))
    if not text.isdecimal() or not least <= int(text) <= most:
        raise InvalidSettingError(f"{name}: {text!r} is not a whole number from {least} to {most}")
    return int(text)

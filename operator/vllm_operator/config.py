"""Settings of the operator, from the environment. Read once, and passed down."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass

DEFAULT_CPU_IMAGE = "docker.io/vllm/vllm-openai-cpu:v0.32.0-x86_64"
DEFAULT_CPU_ENGINE = "vllm 0.32"


class InvalidSettingError(ValueError):
    """A variable of the environment holds what it cannot mean."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How the operator works.

    `namespaces` empty means all of the cluster. `workers` servers are reconciled at the same time.
    `lease_namespace` empty means the operator's own.
    """

    namespaces: tuple[str, ...] = ()
    cpu_image: str = DEFAULT_CPU_IMAGE
    cpu_engine: str = DEFAULT_CPU_ENGINE
    health_address: str = "0.0.0.0"  # noqa: S104 - the kubelet asks from outside the pod
    health_port: int = 8080
    workers: int = 4
    lease_namespace: str = ""

    @classmethod
    def read(cls, environment: Mapping[str, str] = os.environ) -> "Settings":
        """Read `VLLM_OPERATOR_*`.

        Raises InvalidSettingError, which names the variable.
        """
        image = environment.get("VLLM_OPERATOR_CPU_IMAGE", DEFAULT_CPU_IMAGE)
        engine = environment.get("VLLM_OPERATOR_CPU_ENGINE", DEFAULT_CPU_ENGINE)
        if not re.fullmatch(r"[a-z-]+ [0-9]+\.[0-9]+(\.[0-9]+)?", engine):
            raise InvalidSettingError(f"VLLM_OPERATOR_CPU_ENGINE: {engine!r} is not a family and a version")
        if image != DEFAULT_CPU_IMAGE and "VLLM_OPERATOR_CPU_ENGINE" not in environment:
            raise InvalidSettingError(
                f"VLLM_OPERATOR_CPU_ENGINE: say which vLLM {image} holds, such as {DEFAULT_CPU_ENGINE!r}"
            )
        if image.endswith(":latest") or ("@" not in image and ":" not in image.rsplit("/", 1)[-1]):
            raise InvalidSettingError(f"VLLM_OPERATOR_CPU_IMAGE: {image} moves; give a fixed tag or a digest")
        return cls(
            namespaces=tuple(
                filter(None, map(str.strip, environment.get("VLLM_OPERATOR_NAMESPACES", "").split(",")))
            ),
            cpu_image=image,
            cpu_engine=engine,
            health_address=environment.get("VLLM_OPERATOR_HEALTH_ADDRESS", "0.0.0.0"),  # noqa: S104
            health_port=_number(environment, "VLLM_OPERATOR_HEALTH_PORT", 8080, 0, 65535),
            workers=_number(environment, "VLLM_OPERATOR_WORKERS", 4, 1, 256),
            lease_namespace=environment.get("VLLM_OPERATOR_LEASE_NAMESPACE")
            or environment.get("POD_NAMESPACE", ""),
        )


def _number(environment: Mapping[str, str], name: str, default: int, least: int, most: int) -> int:
    text = environment.get(name, str(default))
    if not text.isdecimal() or not least <= int(text) <= most:
        raise InvalidSettingError(f"{name}: {text!r} is not a whole number from {least} to {most}")
    return int(text)

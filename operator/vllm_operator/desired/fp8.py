"""What FP8 makes of a server's pods, beside the flags: variables, volumes, and a look at the files first."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from vllm_operator.api.observed import Artifacts, Quantization
from vllm_operator.api.vllmserver import VLLMServerSpec
from vllm_operator.desired import engine, names, records
from vllm_operator.desired.profile import Dynamic, Profile, invalid

VOLUME = "fp8"
VERIFY_RESOURCES = {"cpu": "500m", "memory": "256Mi"}
"""What it takes to hash some MB of scales."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """Parts of a pod that are there for FP8; those of a server that serves in BF16 are all empty."""

    variables: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    mounts: Sequence[Mapping[str, Any]] = ()
    volumes: Sequence[Mapping[str, Any]] = ()
    verify: Mapping[str, Any] | None = None
    """The container that looks at the files of a calibration before vLLM starts."""
    measured_on: str | None = None
    """Generation of cards (`g2`, `g3`) that the calibration is good for."""


def parts(spec: VLLMServerSpec, profile: Profile, quantization: Quantization | None) -> Parts:
    """What FP8 makes of a server's pods.

    Raises StalledError(InvalidForEngine).
    """
    if spec.fp8 is None:
        return Parts()
    if quantization is not None:
        return _calibrated(quantization.artifacts)
    # That a profile has no dynamic FP8 is said where its flags are made.
    return _dynamic(spec, profile.dynamic) if spec.fp8.mode and profile.dynamic else Parts()


def _calibrated(artifacts: Artifacts) -> Parts:
    return Parts(
        # It alone switches Intel's quantization on, and so stands nowhere else.
        variables={"QUANT_CONFIG": artifacts.quant_config},
        mounts=_read_only(artifacts.output),
        verify={
            "container": names.VERIFY,
            "command": ["python3", "-c", engine.literal(_program())],
            "args": [
                engine.literal(word)
                for word in (
                    *("--folder", artifacts.output, "--manifest", artifacts.manifest),
                    *("--sha256", artifacts.sha256),
                )
            ],
            "resources": VERIFY_RESOURCES,
        },
        measured_on=artifacts.generation,
    )


def _read_only(folder: str) -> list[dict[str, Any]]:
    """A mount that keeps vLLM from writing to a folder of the cache: what is there is a program."""
    within = folder.removeprefix(names.DATA).strip("/")
    if not within:
        return []  # the cache as a whole is mounted already
    return [
        {"name": "cache", "mountPath": f"{names.DATA}/{within}", "subPath": within, "readOnly": True},
    ]


def _dynamic(spec: VLLMServerSpec, dynamic: Dynamic) -> Parts:
    for index, variable in enumerate(spec.extra_env or ()):
        if variable.name in dynamic.variables:
            raise invalid(
                f"spec.extraEnv[{index}].name: {variable.name} follows from spec.fp8.mode: remove it"
            )
    folder, _, file = names.QUANT_CONFIG_FILE.rpartition("/")
    source = {"fieldPath": f"metadata.annotations['{names.QUANT_CONFIG}']"}
    return Parts(
        variables={"QUANT_CONFIG": names.QUANT_CONFIG_FILE, **dynamic.variables},
        annotations={names.QUANT_CONFIG: json.dumps(dynamic.config)},
        mounts=[{"name": VOLUME, "mountPath": folder, "readOnly": True}],
        volumes=[{"name": VOLUME, "downwardAPI": {"items": [{"path": file, "fieldRef": source}]}}],
    )


@cache
def _program() -> str:
    return records.verifier().read_text()

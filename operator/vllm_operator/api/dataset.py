"""Where the samples of a calibration come from."""

import re
from typing import Annotated, ClassVar

from pydantic import Field

from vllm_operator.api.meta import Model, Rule, checked
from vllm_operator.api.parts import ConfigMapItem, DataKey, LocalReference, ObjectName

NO_DOTS = Rule(
    "!self.path.matches('(^|/)[.][.]?(/|$)')",
    "path may not hold `.` or `..` as a path segment; give it in full",
    lambda given: not {".", ".."} & set(given.path.split("/")),
)


def of_form(pattern: str, message: str) -> Rule:
    """That a text fits a pattern, for those who would have to guess what the pattern says."""
    return Rule(f"self.matches(r'{pattern}')", message, lambda text: re.fullmatch(pattern, text) is not None)


class ClaimFile(Model):
    """A file in a claim."""

    rules: ClassVar = (NO_DOTS,)

    claim_name: ObjectName
    """A PersistentVolumeClaim; it is mounted read-only."""
    path: Annotated[
        str,
        Field(max_length=1024),
        *checked(
            of_form(
                r"^[^/\x00-\x1f\x7f]+(/[^/\x00-\x1f\x7f]+)*$",
                "must be the path of a file in the volume, such as samples/a.pkl, without a / before it",
            )
        ),
    ]
    """Path of the file in the volume, without a `/` before it."""


class SecretItem(LocalReference):
    """Names a key of a Secret that must be there."""

    key: DataKey
    """Key in the Secret."""


class DatasetUrl(Model):
    """A file on a web server."""

    url: Annotated[
        str, Field(max_length=2048, pattern=r"^https?://[^\x00-\x20\x7f/@?#]+(/[^\x00-\x20\x7f@#]*)?$")
    ]
    """Address of the file. It is asked without a token."""
    sha256: Annotated[
        str,
        Field(max_length=64),
        *checked(
            of_form(
                "^[0-9a-f]{64}$",
                "must be a SHA-256 as sha256sum prints it: 64 characters of 0-9 and a-f, in lower case",
            )
        ),
    ]
    """SHA-256 of the file, in hexadecimal: a dataset is a program, and this says which."""


class HubDataset(Model):
    """A dataset of a Hugging Face hub."""

    name: Annotated[
        str,
        Field(max_length=512, pattern=r"^[a-zA-Z0-9_][-._a-zA-Z0-9]*(/[a-zA-Z0-9_][-._a-zA-Z0-9]*)?$"),
    ]
    """Hugging Face id of the dataset, such as `NeelNanda/pile-10k`, with columns `question` and
    `system_prompt`, or `text`."""
    split: Annotated[str, Field(max_length=128, pattern=r"^[a-zA-Z0-9_][-._a-zA-Z0-9]*$")] = "train"
    """Split of the dataset."""


_SOURCES = ("persistentVolumeClaim", "configMap", "secret", "url", "huggingFace")


class Dataset(Model):
    """Samples to measure with: a `.pkl` of a pandas frame with the columns `system_prompt` and `question`, or
    a dataset of a hub, which becomes one. A pickle is a program: it may do all that the calibration may."""

    rules: ClassVar = (
        Rule(
            f"[{', '.join(f'has(self.{source})' for source in _SOURCES)}].filter(given, given).size() == 1",
            f"give exactly one of {', '.join(_SOURCES[:-1])} or {_SOURCES[-1]}",
            lambda d: sum(value is not None for _, value in d) == 1,
        ),
    )

    persistent_volume_claim: ClaimFile | None = None
    """A file in a claim."""
    config_map: ConfigMapItem | None = None
    """A key of a ConfigMap (in `binaryData`)."""
    secret: SecretItem | None = None
    """A key of a Secret."""
    url: DatasetUrl | None = None
    """A file on a web server."""
    hugging_face: HubDataset | None = None
    """A dataset of a Hugging Face hub, which is converted to a `.pkl`."""

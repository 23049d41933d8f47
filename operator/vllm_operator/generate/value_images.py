"""The chart's values that name images."""

from typing import Annotated, Any, Literal

from pydantic import Field

from vllm_operator.api.meta import Model
from vllm_operator.api.parts import DNS_NAME
from vllm_operator.config import DEFAULT_IMAGES, REPOSITORY

# The grammar of desired/images.py. That no default image moves, and that each is allowed, Settings.read says
# and templates/_images.tpl.
_LABEL = "[a-zA-Z0-9]([-a-zA-Z0-9]*[a-zA-Z0-9])?"
_REGISTRY = rf"({_LABEL}([.]{_LABEL})+(:[0-9]+)?|{_LABEL}:[0-9]+|localhost)"
_PART = "[a-z0-9]+(([.]|_|__|-+)[a-z0-9]+)*"
_PATH = f"{_PART}(/{_PART})*"
_TAG = "[a-zA-Z0-9_][-._a-zA-Z0-9]{0,127}"
_DIGEST = "[a-z0-9]+:[0-9a-fA-F]{32,}"
OptionalImage = Annotated[
    str, Field(max_length=512, pattern=f"^(({_REGISTRY}/)?{_PATH}(:{_TAG})?(@{_DIGEST})?)?$")
]
AllowedImages = Annotated[str, Field(max_length=512, pattern=f"^{_REGISTRY}(/({_PATH}/?)?)?$")]


class Image(Model):
    """The operator's image."""

    repository: Annotated[
        str, Field(max_length=255, pattern=r"^[a-zA-Z0-9][-.a-zA-Z0-9]*(:[0-9]+)?(/[-._a-z0-9]+)*$")
    ] = REPOSITORY
    """Repository of the operator's image. Images are not published yet: build the Dockerfile, push what it
    makes, and name it here."""
    tag: Annotated[str, Field(pattern=r"^([a-zA-Z0-9_][-._a-zA-Z0-9]{0,127})?$")] = ""
    """Tag of the image. Empty: the chart's appVersion."""
    digest: Annotated[str, Field(pattern=r"^(sha256:[a-f0-9]{64})?$")] = ""
    """Digest of the image, such as `sha256:...`, in place of a tag: it says which image it is by itself, so
    both together are refused."""
    pull_policy: Literal["IfNotPresent", "Always", "Never"] = "IfNotPresent"
    """When a node pulls the image."""


class PullSecret(Model):
    """Names a Secret."""

    name: Annotated[str, Field(min_length=1, max_length=253, pattern=f"^{DNS_NAME}$")]
    """Name of the Secret, in the release's namespace."""


def _default(device: str) -> Any:
    known = DEFAULT_IMAGES[device]
    return (
        Field(
            description=f"Image of servers that name none. A fixed tag or a digest. Empty: `{known.image}`."
        ),
        Field(
            description="Family and version of the engine in that image. Required with an image; "
            f"empty: `{known.engine}`.",
            pattern=rf"^({known.engine.split()[0]} [0-9]+\.[0-9]+(\.[0-9]+)?)?$",
        ),
    )


class CpuImage(Model):
    """Default image of servers on CPUs."""

    image: Annotated[OptionalImage, _default("cpu")[0]] = ""
    engine: Annotated[str, _default("cpu")[1]] = ""


class GaudiImage(Model):
    """Default image of servers on Gaudi."""

    image: Annotated[OptionalImage, _default("gaudi")[0]] = ""
    engine: Annotated[str, _default("gaudi")[1]] = ""


class DefaultImages(Model):
    """Images of servers that name none."""

    cpu: CpuImage = CpuImage()
    """Of servers on CPUs."""
    gaudi: GaudiImage = GaudiImage()
    """Of servers on Gaudi."""

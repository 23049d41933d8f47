"""What the operator's settings say, as far as it decides children."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Image:
    """An image and the engine in it (`family version`)."""

    image: str
    engine: str


@dataclass(frozen=True, slots=True)
class Defaults:
    """Defaults of the operator.

    `images` holds the default image of each device, `generations` the labels of nodes with cards of a
    generation (`g2`, `g3`), `gaudi_nodes` those of all nodes with cards.
    """

    images: Mapping[str, Image]
    gaudi_nodes: Mapping[str, str] = field(default_factory=dict)
    generations: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    microservice_image: str = ""
    """Image of microservices: the operator's own."""

"""Cases of a server's LLM microservice."""

from collections.abc import Iterator

from tests.cases.builders import bounds, choices, optional, things, truths
from tests.cases.container import resources
from tests.cases.model import images
from tests.cases.table import Case


def microservice() -> Iterator[Case]:
    """`microservice`."""
    here = "spec.microservice"
    yield from things(here)
    fields = ("enabled", "replicas", "image", "connector", "port", "resources")
    yield from optional(here, *(f"{here}.{field}" for field in fields))
    yield from truths(f"{here}.enabled")
    yield from bounds(f"{here}.replicas", 0, 1000)
    yield from bounds(f"{here}.port", 1, 65535)
    yield from choices(f"{here}.connector", "generic", "langchain")
    yield from images(f"{here}.image")
    yield from things(f"{here}.resources")
    yield from resources(f"{here}.resources")

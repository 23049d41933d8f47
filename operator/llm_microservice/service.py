"""What one running microservice is made of."""

from dataclasses import dataclass

from llm_microservice.health import Health
from llm_microservice.life import Life
from llm_microservice.metrics import Metrics
from llm_microservice.settings import Settings
from llm_microservice.upstream import Upstream


@dataclass(frozen=True)
class Service:
    """Its parts, each made once."""

    settings: Settings
    life: Life
    metrics: Metrics
    upstream: Upstream
    health: Health

    @classmethod
    def of(cls, settings: Settings) -> "Service":
        """Make the parts, inside the event loop that they will run in."""
        upstream, life = Upstream(settings), Life()
        return cls(settings, life, Metrics(life), upstream, Health(upstream, settings))

"""Counts for Prometheus. No label takes a client's words."""

from dataclasses import dataclass, field
from time import monotonic

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from llm_microservice.life import Life

CODES = {200, 400, 401, 403, 404, 408, 413, 422, 429, 499, 500, 502, 503, 504}
"""Statuses with a count of their own; others are counted by their hundreds."""
REFUSED = "refused"
"""Why a stream ended that vLLM began before it had checked all of its request."""
SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)


@dataclass(slots=True)
class Record:
    """What is noted of one request."""

    form: str = "none"
    """Its form, once it is known."""
    stream: bool = False
    code: int = 0
    failure: str = ""
    """Why a stream that had begun did not come to its end: upstream, timeout, shutdown, client or refused."""
    cause: str = ""
    """The error behind an answer of 5xx, or behind a failure; for the log only."""
    began: float = field(default_factory=monotonic)
    first: float | None = None
    """Seconds until something of the answer was sent."""

    @property
    def counted(self) -> str:
        """The status as a label."""
        return str(self.code) if self.code in CODES else f"{self.code // 100}xx"


class Metrics:
    """The registry and what is in it."""

    def __init__(self, life: Life) -> None:
        """Begin at zero; what runs is asked of `life`."""
        self._registry = CollectorRegistry()
        name = "llm_microservice"
        self._requests = Counter(
            f"{name}_requests", "Requests that have ended.", ("form", "code"), registry=self._registry
        )
        running = Gauge(
            f"{name}_requests_running", "Requests that are being answered.", registry=self._registry
        )
        running.set_function(lambda: life.running)
        self._failures = Counter(
            f"{name}_stream_failures",
            "Streams that began and did not come to their end.",
            ("reason",),
            registry=self._registry,
        )
        self._seconds = Histogram(
            f"{name}_request_duration_seconds",
            "Time from a request's arrival to the end of its answer.",
            ("form", "stream"),
            buckets=SECONDS,
            registry=self._registry,
        )
        self._first = Histogram(
            f"{name}_time_to_first_event_seconds",
            "Time from a request's arrival to the first event of its stream.",
            ("form",),
            buckets=SECONDS,
            registry=self._registry,
        )

    def ended(self, record: Record) -> None:
        """Count a request that has ended."""
        self._requests.labels(record.form, record.counted).inc()
        self._seconds.labels(record.form, str(record.stream).lower()).observe(monotonic() - record.began)
        if record.first is not None:
            self._first.labels(record.form).observe(record.first)
        if record.failure:
            self._failures.labels(record.failure).inc()

    def text(self) -> bytes:
        """All of it, as Prometheus reads it."""
        return generate_latest(self._registry)

"""What the operator tells Prometheus of itself; docs/metrics.md says what each metric means.

No label names an object: how many series there are depends on the kinds, conditions and reasons that exist,
and not on how many servers there are, nor on what anybody writes into a status.
"""

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    Metric,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from vllm_operator import __version__
from vllm_operator.api.kinds import CLASSES
from vllm_operator.api.quantized import Result
from vllm_operator.api.reasons import Reason
from vllm_operator.controller.store import Key, Store
from vllm_operator.controller.workqueue import WorkQueue

RESULTS = ("done", "waiting", "error")
"""How a reconcile ends: nothing is left to do, it looks again by itself, or a fault that passes."""

CONDITIONS = frozenset(
    {
        *("Ready", "Reconciling", "Stalled", "Available", "ModelCached", "Quantized"),
        *("Verified", "MicroserviceReady", "Autoscaled", "Monitored"),
        *("Calibrated", "ArtifactsVerified"),
    }
)
OTHER = "Other"
"""Stands for every condition and reason that is not the operator's: a status is open to others too."""

_REASONS = frozenset(Reason)
_LABELS = ("kind", "condition", "status", "reason")
_RECONCILE_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
"""A look that writes nothing takes milliseconds; one request may take 15 s."""
_CALIBRATION_BUCKETS = (60, 300, 600, 1200, 1800, 3600, 7200, 14400, 28800, 57600, 86400)
"""Seconds, from a minute to a day."""


class Metrics:
    """The operator's metrics: counted as things happen, or computed when they are asked for."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._reconciles = Counter(
            "vllm_operator_reconciles",
            "Reconciles that have ended",
            ["kind", "result"],
            registry=self.registry,
        )
        self._reconcile_seconds = Histogram(
            "vllm_operator_reconcile_duration_seconds",
            "How long reconciles took",
            ["kind"],
            buckets=_RECONCILE_BUCKETS,
            registry=self.registry,
        )
        self._requests = Counter(
            "vllm_operator_api_requests",
            "Requests to the API server, but for kopf's lists and watches",
            ["verb", "code"],
            registry=self.registry,
        )
        self._calibration_seconds = Histogram(
            "vllm_operator_calibration_duration_seconds",
            "From the start of a calibration's Job to its result",
            buckets=_CALIBRATION_BUCKETS,
            registry=self.registry,
        )
        self._left_out = Gauge(
            "vllm_operator_namespaces_left_out",
            "Namespaces that may not be listed, and so are not watched",
            registry=self.registry,
        )
        Info("vllm_operator_build", "The running version", registry=self.registry).info(
            {"version": __version__}
        )
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        self._begin_at_zero()

    def _begin_at_zero(self) -> None:
        # A rate needs a first value: that of what has not happened yet is 0.
        for kind in CLASSES:
            self._reconcile_seconds.labels(kind)
            for result in RESULTS:
                self._reconciles.labels(kind, result)

    def look_at(self, queue: WorkQueue[Key], store: Store, leads: Callable[[], bool]) -> None:
        """Compute what these tell whenever the metrics are asked for."""
        for name, doc, function in (
            ("vllm_operator_leader", "1 where the Lease is held, else 0", leads),
            ("vllm_operator_queue_depth", "Keys that wait for a worker", queue.__len__),
            ("vllm_operator_queue_oldest_seconds", "Age of the oldest waiting key", queue.oldest_seconds),
            (
                "vllm_operator_queue_active_oldest_seconds",
                "For how long the longest running reconcile runs",
                queue.active_oldest_seconds,
            ),
        ):
            Gauge(name, doc, registry=self.registry).set_function(function)
        self.registry.register(_Resources(store))

    def reconciled(self, kind: str, result: str, seconds: float) -> None:
        """Count a reconcile that has ended; `result` is one of RESULTS."""
        self._reconciles.labels(kind, result).inc()
        self._reconcile_seconds.labels(kind).observe(seconds)

    def requested(self, verb: str, code: str) -> None:
        """Count a request to the API server; `code` is `error` where there was no answer."""
        self._requests.labels(verb, code).inc()

    def calibrated(self, result: Result) -> None:
        """Count a calibration that has ended well."""
        start, end = _timestamp(result.started_at), _timestamp(result.completed_at)
        if start is not None and end is not None:
            self._calibration_seconds.observe(end - start)

    def left_out(self, namespaces: int) -> None:
        """Tell how many namespaces are closed to the operator."""
        self._left_out.set(namespaces)

    def page(self) -> bytes:
        """All metrics, in Prometheus' text format."""
        return generate_latest(self.registry)


class _Resources(Collector):
    """How many resources there are and what their conditions say, by a walk through the store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def describe(self) -> Iterable[Metric]:
        """Names alone, so that nothing is walked through when this is registered."""
        return _families()

    def collect(self) -> Iterator[Metric]:
        """Count."""
        resources, conditions, since = _families()
        kinds = dict.fromkeys(CLASSES, 0)
        said: dict[tuple[str, ...], tuple[int, str]] = {}
        for kind, transitions in self._store.conditions():
            kinds[kind] += 1
            for condition, told in transitions.items():
                name = condition if condition in CONDITIONS else OTHER
                reason = told.reason if told.reason in _REASONS else OTHER
                labels = (kind, name, told.status, reason)
                count, first = said.get(labels, (0, told.time))
                said[labels] = (count + 1, min(first, told.time))
        for kind, count in kinds.items():
            resources.add_metric([kind], count)
        for key, (count, first) in said.items():
            conditions.add_metric(key, count)
            time = _timestamp(first)
            if time is not None:
                since.add_metric(key, time)
        yield from (resources, conditions, since)


def _families() -> tuple[GaugeMetricFamily, GaugeMetricFamily, GaugeMetricFamily]:
    return (
        GaugeMetricFamily("vllm_operator_resources", "Resources that exist", labels=["kind"]),
        GaugeMetricFamily(
            "vllm_operator_conditions", "Resources by what a condition of theirs says", labels=_LABELS
        ),
        GaugeMetricFamily(
            "vllm_operator_conditions_oldest_transition_timestamp_seconds",
            "Since when the first of these resources has said so",
            labels=_LABELS,
        ),
    )


def _timestamp(time: str) -> float | None:
    """Unix time, or None of what anybody has written in another form."""
    try:
        return datetime.fromisoformat(time).timestamp()
    except ValueError:
        return None

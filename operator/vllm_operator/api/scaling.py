"""How many pods there are, as an autoscaler decides it, and who scrapes their metrics."""

from typing import Annotated, ClassVar

from pydantic import Field

from vllm_operator.api.meta import Model, Rule
from vllm_operator.api.pod import FurtherLabels
from vllm_operator.api.quantity import Quantity, exact

_MOST_REPLICAS = 1000


class ScaleTarget(Model):
    """The load that one pod is to have."""

    rules: ClassVar = (
        Rule(
            "!isQuantity(string(self.averageValue)) || "
            "quantity(string(self.averageValue)).isGreaterThan(quantity('0'))",
            "averageValue must be greater than 0",
            lambda t: exact(t.average_value) > 0,
        ),
    )

    # As Prometheus names metrics; the API server takes every segment of a path (k8s.io/kubernetes v1.36.3,
    # pkg/apis/autoscaling/validation).
    metric: Annotated[str, Field(max_length=253, pattern=r"^[a-zA-Z_:][a-zA-Z0-9_:]*$")] = (
        "vllm:num_requests_waiting"
    )
    """Metric of each pod, as the cluster's custom metrics API names it: adapters often write `vllm_` in the
    place of `vllm:`. `kubectl get --raw /apis/custom.metrics.k8s.io/v1beta1` lists the names."""
    average_value: Quantity = "5"
    """Value that the metric is to have on the average of all pods: above it pods are added, below it they go.
    By default that many requests wait in the queue of each pod."""


class ScaleUp(Model):
    """How pods are added."""

    stabilization_window_seconds: Annotated[int, Field(ge=0, le=3600)] = 60
    """Seconds for which the metric must ask for more pods before any are added: a new pod takes minutes to
    warm up, and is of no use against a queue that is gone by then."""


class ScaleDown(Model):
    """How pods are taken away."""

    stabilization_window_seconds: Annotated[int, Field(ge=0, le=3600)] = 600
    """Seconds for which the metric must ask for fewer pods before any go."""
    period_seconds: Annotated[int, Field(ge=1, le=1800)] = 300
    """Seconds from one pod that goes to the next."""


class Autoscaling(Model):
    """A HorizontalPodAutoscaler that writes `spec.replicas` of this resource."""

    rules: ClassVar = (
        Rule(
            "self.minReplicas <= self.maxReplicas",
            "maxReplicas must be at least minReplicas",
            lambda a: a.min_replicas <= a.max_replicas,
        ),
    )

    min_replicas: Annotated[int, Field(ge=1, le=_MOST_REPLICAS)] = 1
    """The fewest pods. To suspend the server, set `spec.replicas` to 0: the autoscaler leaves 0 alone."""
    max_replicas: Annotated[int, Field(ge=1, le=_MOST_REPLICAS)]
    """The most pods."""
    target: ScaleTarget = ScaleTarget()
    """The load that one pod is to have."""
    scale_up: ScaleUp = ScaleUp()
    """How pods are added."""
    scale_down: ScaleDown = ScaleDown()
    """How pods are taken away: slowly, since it takes long to have one back."""


class PodMonitor(Model):
    """A PodMonitor of the Prometheus Operator."""

    labels: FurtherLabels | None = None
    """Further labels of the PodMonitor: those by which a Prometheus selects what it scrapes."""
    # As the PodMonitor itself has it (prometheus-operator, `Duration` in pkg/apis/monitoring/v1), but for 0.
    interval: Annotated[
        str,
        Field(
            min_length=2,
            max_length=32,
            pattern=r"^([1-9][0-9]*h)?([1-9][0-9]*m)?([1-9][0-9]*s)?([1-9][0-9]*ms)?$",
        ),
    ] = "30s"
    """How often each pod is scraped, such as `30s` or `1m`."""


class Monitoring(Model):
    """Who scrapes the metrics of the pods."""

    pod_monitor: PodMonitor | None = None
    """Have Prometheus scrape vLLM's own metrics by a PodMonitor; `{}` is enough. In a cluster without that
    kind the condition `Monitored` says so, and nothing else changes."""

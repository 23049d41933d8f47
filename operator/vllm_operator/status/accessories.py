"""What is true of the children that no pod depends on: conditions of their own, whatever Ready says."""

from vllm_operator.api.observed import AUTOSCALER, POD_MONITOR, AutoscalerFacts, Observed
from vllm_operator.api.reasons import Reason
from vllm_operator.desired import names
from vllm_operator.status.conditions import Verdict

# Reasons of an autoscaler's ScalingActive condition (k8s.io/kubernetes v1.36.3,
# pkg/controller/podautoscaler/horizontal.go).
SCALING_DISABLED = "ScalingDisabled"
FAILED_METRIC = "FailedGetPodsMetric"


def autoscaled(observed: Observed, readiness: Verdict) -> Verdict | None:
    """Whether the autoscaler does its work, in its own words; not told until it has said anything."""
    if observed.server.spec.autoscaling is None:
        return None
    if AUTOSCALER in observed.refused:
        return _refused(observed, AUTOSCALER)
    autoscaler = observed.autoscaler
    if autoscaler is None:
        return None
    if autoscaler.able is not None and autoscaler.able.status == "False":
        return _failed(observed, autoscaler.able.message)
    return _active(observed, autoscaler, readiness)


def _active(observed: Observed, autoscaler: AutoscalerFacts, readiness: Verdict) -> Verdict | None:
    server, autoscaling, active = observed.server, observed.server.spec.autoscaling, autoscaler.active
    assert autoscaling is not None  # noqa: S101 - or there would be no autoscaler
    if active is None:
        return None
    metric = autoscaling.target.metric
    if active.status == "True":
        least, most = autoscaling.min_replicas, autoscaling.max_replicas
        return Verdict(True, Reason.AUTOSCALING, f"From {least} to {most} replicas, by {metric}")
    if active.reason == SCALING_DISABLED:
        start = names.kubectl(server.namespace, f"scale vllm/{server.name} --replicas=1")
        message = f"spec.replicas is 0, which the autoscaler leaves alone. To start the server: {start}"
        return Verdict(False, Reason.SUSPENDED, message)
    if active.reason != FAILED_METRIC:
        return _failed(observed, active.message)
    deployment = observed.deployment
    if not readiness.ready and (deployment is None or not deployment.ready_replicas):
        return Verdict(False, readiness.reason, f"No pod answers, and so none tells {metric}")
    ask = f"/apis/custom.metrics.k8s.io/v1beta1/namespaces/{server.namespace}/pods/*/{metric}"
    message = (
        f"The autoscaler gets no {metric}, and leaves spec.replicas as it is: {_words(active.message)}. "
        "Prometheus must scrape the pods, and its adapter give the metric that name: "
        f"`kubectl get --raw '{ask}'`"
    )
    return Verdict(False, Reason.METRIC_UNAVAILABLE, message)


def _failed(observed: Observed, words: str) -> Verdict:
    look = names.kubectl(observed.server.namespace, f"describe hpa {names.autoscaler(observed.server.name)}")
    message = f"The autoscaler cannot set spec.replicas: {_words(words)}. Mend what it names: {look}"
    return Verdict(False, Reason.SCALING_FAILED, message)


def monitored(observed: Observed) -> Verdict | None:
    """Whether there is the PodMonitor that is asked for."""
    if observed.server.spec.monitoring.pod_monitor is None:
        return None
    if POD_MONITOR in observed.refused:
        return _refused(observed, POD_MONITOR)
    child = observed.children.get((POD_MONITOR, names.pod_monitor(observed.server.name)))
    if child is None or child.owner != observed.server.uid:
        return None
    message = "Prometheus scrapes the pods, if it selects the PodMonitor by spec.monitoring.podMonitor.labels"
    return Verdict(True, Reason.MONITORED, message)


def _refused(observed: Observed, kind: str) -> Verdict:
    return Verdict(False, *observed.refused[kind])


def _words(message: str) -> str:
    return message.strip().removesuffix(".")

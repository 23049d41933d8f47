"""Children of a server that none of its pods depends on: who scales it, and who scrapes its metrics."""

from collections.abc import Collection, Hashable

from vllm_operator.api.meta import API_VERSION
from vllm_operator.api.observed import AUTOSCALER, POD_MONITOR, Observed
from vllm_operator.api.seen import Child, Manifest, Ref
from vllm_operator.desired import names
from vllm_operator.desired.metadata import metadata
from vllm_operator.desired.render import render

KINDS = frozenset({AUTOSCALER, POD_MONITOR})


def part(manifest: Manifest) -> str | None:
    """The part of a server that a child is of, where no pod of the server depends on it: its kind, or the
    microservice. What becomes of such a part is a condition of its own, and keeps no other child waiting.
    """
    if manifest["kind"] in KINDS:
        return str(manifest["kind"])
    component = (manifest["metadata"].get("labels") or {}).get(names.COMPONENT)
    return names.MICROSERVICE if component == names.MICROSERVICE else None


def manifests(observed: Observed) -> list[Manifest]:
    """What is asked for of them, and can be made."""
    return [*_autoscaler(observed), *_pod_monitor(observed)]


def superfluous(observed: Observed, wanted: Collection[Ref]) -> list[Child]:
    """Those that nobody asks for any more. They go at once: who takes an autoscaler away means to scale."""
    return [
        child
        for ref, child in observed.children.items()
        if ref[0] in KINDS and ref not in wanted and ref[0] not in observed.refused
    ]


def basis(observed: Observed) -> Hashable:
    """All that `manifests` looks at beside the spec."""
    return POD_MONITOR in observed.refused


def _autoscaler(observed: Observed) -> list[Manifest]:
    server, autoscaling = observed.server, observed.server.spec.autoscaling
    if autoscaling is None:
        return []
    return [
        render(
            "horizontalpodautoscaler",
            metadata=metadata(server, names.autoscaler(server.name)),
            target={"apiVersion": API_VERSION, "kind": server.kind, "name": server.name},
            min_replicas=autoscaling.min_replicas,
            max_replicas=autoscaling.max_replicas,
            metric=autoscaling.target.metric,
            average_value=autoscaling.target.average_value,
            up_window_seconds=autoscaling.scale_up.stabilization_window_seconds,
            down_window_seconds=autoscaling.scale_down.stabilization_window_seconds,
            down_period_seconds=autoscaling.scale_down.period_seconds,
        )
    ]


def _pod_monitor(observed: Observed) -> list[Manifest]:
    server, wanted = observed.server, observed.server.spec.monitoring.pod_monitor
    if wanted is None or POD_MONITOR in observed.refused:
        return []
    own = metadata(server, names.pod_monitor(server.name))
    own["labels"] = own["labels"] | (wanted.labels or {})
    return [
        render(
            "podmonitor",
            metadata=own,
            selector=names.selector(server.name),
            interval=wanted.interval,
            # Dashboards and alerts tell servers apart by it.
            target_labels=[names.SERVER],
        )
    ]

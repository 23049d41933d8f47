"""Asks why there is no container: of volumes that cannot be mounted, and of pods that are refused to a Job,
only Events tell.

Events are not watched: a cluster has more of them than of anything else, and nearly all are about others.
They are read for what hangs, ever more seldom the longer it hangs.
"""

from collections.abc import Iterator
from datetime import datetime

from vllm_operator.api.observed import JobFacts, Manifest, Observed
from vllm_operator.controller.cluster import Cluster

PATIENCE_SECONDS = 3.0
"""Seconds in which a pod or a container is expected to be made."""
MOST = 3
"""Pods and Jobs of one server that are asked about: they hang for the same reason."""
SELDOM_SECONDS = 60.0
"""Seconds between looks at what has hung for long."""

_REASONS = frozenset({"FailedAttachVolume", "FailedCreate", "FailedMapVolume", "FailedMount"})
"""k8s.io/kubernetes v1.36.3, pkg/kubelet/events/event.go and pkg/controller/controller_utils.go."""
_VAGUE = "Unable to attach or mount volumes"
"""How the kubelet begins when it sums up what other Events say better (pkg/kubelet/kubelet.go)."""


async def look(
    cluster: Cluster, namespace: str, observed: Observed, now: datetime
) -> tuple[dict[str, str], float | None]:
    """What Events say of pods and Jobs that hang, by their names, and in how many seconds to look again.

    Raises ApiError.
    """
    hanging = sorted((name, uid, _age(since, now)) for name, uid, since in _hanging(observed))
    said = {}
    for name, uid, _ in [item for item in hanging if item[2] >= PATIENCE_SECONDS][:MOST]:
        words = _words(await cluster.warnings(namespace, uid))
        if words:
            said[name] = words
    return said, min((_pause(age) for _, _, age in hanging), default=None)


def _hanging(observed: Observed) -> Iterator[tuple[str, str, str]]:
    """Name, uid and time of pods whose container is being made, and of Jobs that have no pod yet."""
    for pod in observed.pods:
        if pod.creating_since and not pod.deleting:
            yield pod.name, pod.uid, pod.creating_since
    with_pods = {pod.job for pod in observed.pods}
    for child in observed.children.values():
        if (
            isinstance(child, JobFacts)
            and child.name not in with_pods
            and not (child.failed or child.succeeded)
        ):
            yield child.name, child.uid, child.created_at


def _age(since: str, now: datetime) -> float:
    return (now - datetime.fromisoformat(since)).total_seconds()


def _pause(age: float) -> float:
    if age < PATIENCE_SECONDS:
        return PATIENCE_SECONDS - age
    return min(age, SELDOM_SECONDS)


def _words(events: list[Manifest]) -> str:
    """The newest message; of a volume one that says which, if there is one."""
    about = [event for event in events if event.get("reason") in _REASONS]
    about.sort(key=lambda event: (not event["message"].startswith(_VAGUE), _time(event)))
    return str(about[-1]["message"]) if about else ""


def _time(event: Manifest) -> str:
    return str(event.get("lastTimestamp") or event.get("eventTime") or "")

"""Asks why a pod's container is not made: of volumes that cannot be mounted only Events tell.

Events are not watched: a cluster has more of them than of anything else, and nearly all are about others.
They are read for a pod that hangs, ever more seldom the longer it hangs.
"""

from datetime import datetime

from vllm_operator.api.observed import Manifest, Observed, PodFacts
from vllm_operator.controller.cluster import Cluster

PATIENCE_SECONDS = 3.0
"""Seconds in which a container is expected to be made."""
MOST_PODS = 3
"""Pods of one server that are asked about: they hang for the same reason."""
SELDOM_SECONDS = 60.0
"""Seconds between looks at a pod that has hung for long."""

_REASONS = frozenset({"FailedAttachVolume", "FailedMount", "FailedMapVolume"})
"""k8s.io/kubernetes v1.36.3, pkg/kubelet/events/event.go."""
_MOUNTED = frozenset({"FailedCreatePodSandBox", "Pulling", "Pulled", "Created", "Started"})
"""What the kubelet does once it has all volumes: a failure before that has passed (pkg/kubelet/events)."""
_VAGUE = "Unable to attach or mount volumes"
"""How the kubelet begins when it sums up what other Events say better (pkg/kubelet/volumemanager)."""


async def look(
    cluster: Cluster, observed: Observed, record: str, now: datetime
) -> tuple[dict[str, str], float | None]:
    """What Events say of a record's pods that hang, by their names, and in how many seconds to look again.

    Raises ApiError.
    """
    pods = (pod for pod in observed.pods if pod.record == record and not pod.deleting)
    creating = sorted((pod for pod in pods if pod.creating_since), key=lambda pod: pod.name)
    said = {}
    for pod in [pod for pod in creating if _age(pod, now) >= PATIENCE_SECONDS][:MOST_PODS]:
        words = _words(await cluster.events_about(observed.server.namespace, pod.uid))
        if words:
            said[pod.name] = words
    return said, min((_pause(_age(pod, now)) for pod in creating), default=None)


def _age(pod: PodFacts, now: datetime) -> float:
    return (now - datetime.fromisoformat(pod.creating_since)).total_seconds()


def _pause(age: float) -> float:
    if age < PATIENCE_SECONDS:
        return PATIENCE_SECONDS - age
    return min(age, SELDOM_SECONDS)


def _words(events: list[Manifest]) -> str:
    """The newest message about a volume that is still missed; one that says which, if there is one."""
    mounted = max((_time(event) for event in events if event.get("reason") in _MOUNTED), default="")
    about = [event for event in events if event.get("reason") in _REASONS and _time(event) > mounted]
    about.sort(key=lambda event: (not event["message"].startswith(_VAGUE), _time(event)))
    return str(about[-1]["message"]) if about else ""


def _time(event: Manifest) -> str:
    return str(event.get("lastTimestamp") or event.get("eventTime") or "")

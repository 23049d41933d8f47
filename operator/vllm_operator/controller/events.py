"""Asks why there is no container: of volumes that cannot be mounted, and of pods that are refused to a Job,
only Events tell.

Events are not watched: a cluster has more of them than of anything else, and nearly all are about others.
They are read for what hangs, ever more seldom the longer it hangs.
"""

import logging
from collections.abc import Iterable
from datetime import datetime

from vllm_operator.api.seen import Manifest
from vllm_operator.controller.cluster import Cluster
from vllm_operator.controller.outcome import PASSING
from vllm_operator.status.view import Hanging

PATIENCE_SECONDS = 3.0
"""Seconds in which a pod or a container is expected to be made."""
MOST = 3
"""Pods of one server that are asked about: they hang for the same reason."""
SELDOM_SECONDS = 60.0
"""Seconds between looks at what has hung for long."""

_REASONS = frozenset({"FailedAttachVolume", "FailedCreate", "FailedMapVolume", "FailedMount"})
"""k8s.io/kubernetes v1.36.3, pkg/kubelet/events/event.go and pkg/controller/controller_utils.go."""
_MOUNTED = frozenset({"FailedCreatePodSandBox", "Pulling", "Pulled", "Created", "Started"})
"""What the kubelet does once it has all volumes: a failure before that has passed (pkg/kubelet/events)."""
_VAGUE = "Unable to attach or mount volumes"
"""How the kubelet begins when it sums up what other Events say better (pkg/kubelet/kubelet.go)."""

log = logging.getLogger(__name__)


async def look(
    cluster: Cluster, namespace: str, hanging: Iterable[Hanging], now: datetime
) -> tuple[dict[str, str], float | None]:
    """What Events say of what hangs, by its name, and in how many seconds to look again.

    Where they cannot be read nothing is said: that must not keep the rest of a status from being written.
    """
    ages = sorted((each.name, each.uid, _age(each, now)) for each in hanging)
    said = {}
    for name, uid, _ in [item for item in ages if item[2] >= PATIENCE_SECONDS][:MOST]:
        try:
            words = _words(await cluster.events_about(namespace, uid))
        except PASSING as error:
            log.debug("%s/%s: no Events of it: %r", namespace, name, error)
            continue
        if words:
            said[name] = words
    return said, min((_pause(age) for _, _, age in ages), default=None)


def _age(of: Hanging, now: datetime) -> float:
    return (now - datetime.fromisoformat(of.since)).total_seconds()


def _pause(age: float) -> float:
    if age < PATIENCE_SECONDS:
        return PATIENCE_SECONDS - age
    return min(age, SELDOM_SECONDS)


def _words(events: list[Manifest]) -> str:
    """The newest message that still holds; of a volume one that says which, if there is one."""
    mounted = max((_time(event) for event in events if event.get("reason") in _MOUNTED), default="")
    about = [event for event in events if event.get("reason") in _REASONS and _time(event) > mounted]
    about.sort(key=lambda event: (not event["message"].startswith(_VAGUE), _time(event)))
    return str(about[-1]["message"]) if about else ""


def _time(event: Manifest) -> str:
    return str(event.get("lastTimestamp") or event.get("eventTime") or "")

"""The one door to kopf, which delivers events: a handler updates the store, queues a key, and returns.

No handler of kopf's that keeps state is used, so kopf writes nothing on any object and sets no finalizer.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Coroutine
from dataclasses import dataclass
from typing import Any

import kopf
from kopf._core.engines.peering import Identity
from kopf._core.reactor.inventory import ResourceMemories, ResourceMemory

from vllm_operator.api.kinds import PLURALS
from vllm_operator.api.meta import GROUP, VERSION
from vllm_operator.controller.store import Key, Store
from vllm_operator.controller.workqueue import Priority, WorkQueue
from vllm_operator.desired import names

CHILDREN = {
    "ConfigMap": ("v1", "configmaps"),
    "ControllerRevision": ("apps", "v1", "controllerrevisions"),
    "Deployment": ("apps", "v1", "deployments"),
    "HorizontalPodAutoscaler": ("autoscaling", "v2", "horizontalpodautoscalers"),
    "Job": ("batch", "v1", "jobs"),
    "NetworkPolicy": ("networking.k8s.io", "v1", "networkpolicies"),
    "PersistentVolumeClaim": ("v1", "persistentvolumeclaims"),
    "PodDisruptionBudget": ("policy", "v1", "poddisruptionbudgets"),
    "Pod": ("v1", "pods"),
    "Service": ("v1", "services"),
    "ServiceAccount": ("v1", "serviceaccounts"),
}
"""What is watched beside our own resources, only where it bears our label."""

SELECTOR = f"{names.MANAGED_BY}={names.FIELD_MANAGER}"
"""What a child bears."""

WATCHED = {**{kind: (GROUP, VERSION, plural) for kind, plural in PLURALS.items()}, **CHILDREN}

Login = Callable[[], Awaitable[dict[str, Any]]]


class _NoDiffBase(kopf.DiffBaseStorage):
    """Keeps no last-handled state: no handler needs it, and computing it takes three quarters of the CPU."""

    def build(self, **_: Any) -> kopf.BodyEssence:
        return kopf.BodyEssence()

    def fetch(self, **_: Any) -> None:
        return None

    def store(self, **_: Any) -> None:
        return None


class _NoMemories(ResourceMemories):
    """Remembers no object: what no handler needs takes as much space as all that the store keeps."""

    async def recall(self, raw_body: kopf.RawBody, **options: Any) -> ResourceMemory:
        return await super().recall(raw_body, **options | {"ephemeral": True})


class _Everything(Collection[Any]):
    """Holds everything: kopf then cancels no task that is not its own when it ends."""

    def __contains__(self, _: object) -> bool:
        return True

    def __iter__(self) -> Any:
        return iter(())

    def __len__(self) -> int:
        return 0


def settings() -> kopf.OperatorSettings:
    """kopf's settings, each for a reason."""
    result = kopf.OperatorSettings()
    result.persistence.diffbase_storage = _NoDiffBase()
    # Resources are known by name: no rights on CRDs and namespaces are needed to find them.
    result.scanning.disabled = True
    # The start decides how much memory the process takes for good: what is kept lies scattered between the
    # whole objects that it was taken from, and Python gives back only what is free as a block of 1 MiB.
    # kopf lists all kinds at the same time, and so a page of each of them is there at once.
    result.watching.chunk_size = 20
    # kopf keeps the latest event of an object, whole, until it has been idle for so long. After a start that
    # is all there is in the cluster: with the default of 5 s, a thousand servers take 200 MB for good.
    result.queueing.idle_timeout = 0.01
    result.watching.connect_timeout = 10
    result.networking.request_timeout = 30
    # kopf ends by its stop flag; on cancellation this would set a timer that kills the process.
    result.process.ultimate_exiting_timeout = None
    for resource in CHILDREN.values():
        result.watching.label_selectors[resource] = SELECTOR  # type: ignore[index]
    # "Handler ... succeeded", once for each event.
    logging.getLogger("kopf.objects").setLevel(logging.WARNING)
    return result


@dataclass(frozen=True, slots=True)
class Feed:
    """Where handlers put what they are told.

    `listed` is set when all that there was at the start is in the store; until then `seen` gathers uids.
    kopf does not tell when it has listed everything, except to handlers that cost more than all the rest.
    """

    store: Store
    queue: WorkQueue[Key]
    listed: asyncio.Event
    seen: set[str]


def registry(feed: Feed, login: Login) -> kopf.OperatorRegistry:
    """Handlers that feed the store and the queue."""
    result = kopf.OperatorRegistry()

    @kopf.on.login(registry=result)
    async def log_in(**_: Any) -> kopf.ConnectionInfo:
        return kopf.ConnectionInfo(**await login())

    for kind, resource in WATCHED.items():
        _watch(result, kind, resource, feed)
    return result


def _watch(to: kopf.OperatorRegistry, kind: str, resource: tuple[str, ...], feed: Feed) -> None:
    @kopf.on.event(*resource, id=f"see-{kind}", registry=to)
    async def see(event: kopf.RawEvent, **_: Any) -> None:
        body = event["object"]
        listed = feed.listed.is_set()
        if not listed:
            feed.seen.add(body["metadata"]["uid"])  # first: what cannot be read must not hold up the others
        take = feed.store.gone if event["type"] == "DELETED" else feed.store.see
        key = take(kind, body)
        if key is not None:
            feed.queue.add(key, _priority(kind, event["type"]) if listed else Priority.RESYNC)


def _priority(kind: str, event: str | None) -> Priority:
    if kind not in PLURALS:
        return Priority.CHILD
    return Priority.NEW if event == "ADDED" else Priority.USER


async def start(
    handlers: kopf.OperatorRegistry, namespaces: tuple[str, ...], stop: asyncio.Event
) -> Coroutine[Any, Any, None]:
    """Start watching.

    Returns what ends when watching has ended, for good or for a fault. kopf installs handlers of SIGINT
    and SIGTERM: the caller puts its own back before it awaits anything.
    """
    tasks = await kopf.spawn_tasks(
        registry=handlers,
        settings=settings(),
        standalone=True,
        # Without it kopf asks for the name of our user, and in the image nobody has the uid of the pod.
        identity=Identity(names.FIELD_MANAGER),
        clusterwide=not namespaces,
        namespaces=namespaces,
        stop_flag=stop,
        memories=_NoMemories(),
    )
    return kopf.run_tasks(tasks, ignored=_Everything())

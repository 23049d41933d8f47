"""What the watches have told, in compact form.

Only facts are kept, never whole objects. The answers to our own writes are stored at once, so that a
watch that lags behind never makes a reconcile see, and do again, what is done.
"""

import json
import time
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, NamedTuple

from vllm_operator.api.fp8quantization import FP8Quantization
from vllm_operator.api.kinds import CLASSES, Ours
from vllm_operator.api.meta import InvalidObjectError
from vllm_operator.api.observed import POD_MONITOR, Observed
from vllm_operator.api.quantized import ObservedQuantization, User
from vllm_operator.api.seen import Child, ClaimFacts, PodFacts, Ref, Refusal
from vllm_operator.api.vllmserver import VLLMServer
from vllm_operator.controller import facts
from vllm_operator.desired import names
from vllm_operator.desired.calibration import user
from vllm_operator.desired.canonical import digest, owned
from vllm_operator.status.conditions import Transition

Body = Mapping[str, Any]

SETTLE_SECONDS = 12.0
"""When something is freed, the scheduler looks again at a pod that it had no place for within ten seconds
(k8s.io/kubernetes v1.36.3, pkg/scheduler/backend/queue, DefaultPodMaxBackoffDuration)."""
MAX_GONE = 4096
"""Objects that are remembered as gone."""


class Key(NamedTuple):
    """Names a resource of ours."""

    kind: str
    namespace: str
    name: str


@dataclass(slots=True)
class Entry:
    """All that is known of one resource of ours."""

    children: dict[Ref, Child] = field(default_factory=dict)
    pods: dict[str, tuple[int, PodFacts]] = field(default_factory=dict)
    given_claim: ClaimFacts | None = None
    """A claim that is not ours, and so not watched."""
    body: bytes = b""
    """Metadata and spec, as JSON; empty while the resource itself is unknown."""
    uid: str = ""
    generation: int = 0
    resource_version: int = 0
    deleting: bool = False
    status_digest: bytes = b""
    transitions: Mapping[str, Transition] = field(default_factory=dict)
    quantization: Key | None = None
    """The quantization that a server names."""
    freed_at: float = float("-inf")
    """When the last pod that served went (monotonic seconds)."""


class Store:
    """Facts of every resource of ours, its children and its pods."""

    def __init__(self) -> None:
        self._entries: dict[Key, Entry] = {}
        self._gone: OrderedDict[str, int] = OrderedDict()
        """resourceVersion at which an object went, by its uid: answers to our writes may come after that."""
        self._users: dict[Key, set[Key]] = {}
        """Servers that name a quantization, whether there is one of that name or not."""
        self.unmonitored: dict[str | None, Refusal] = {}
        """Why there can be no PodMonitor, by namespace (None: in any)."""

    def entry(self, key: Key) -> Entry | None:
        """What is known of a resource, or None when it does not exist."""
        entry = self._entries.get(key)
        return entry if entry is not None and entry.body else None

    def conditions(self) -> Iterator[tuple[str, Mapping[str, Transition]]]:
        """The kind of each resource, and what its conditions say."""
        return ((key.kind, entry.transitions) for key, entry in self._entries.items() if entry.body)

    def see(self, kind: str, body: Body) -> Key | None:
        """Take in an object. Returns the key that it concerns, or None when it brings nothing new."""
        key = _key(kind, body)
        if key is None:
            return None
        version = int(body["metadata"]["resourceVersion"])
        if version < self._gone.get(body["metadata"]["uid"], 0):
            return None
        entry = self._entries.setdefault(key, Entry())
        if kind in CLASSES:
            if not _see_resource(entry, body, version):
                return None
            self._refer(key, entry, _named(key, body))
            return key
        see = _see_pod if kind == "Pod" else _see_child
        return key if see(entry, kind, body, version) else None

    def gone(self, kind: str, body: Body) -> Key | None:
        """Take in that an object is gone. Returns the key that it concerns."""
        key = _key(kind, body)
        if key is None or key not in self._entries:
            return None
        self._drop(key, kind, body["metadata"])
        return key

    def _drop(self, key: Key, kind: str, metadata: Mapping[str, Any]) -> None:
        entry = self._entries[key]
        name, uid = metadata["name"], metadata["uid"]
        # Who was told so by a 404 knows no resourceVersion, and must not undo what the watch has told.
        self._gone[uid] = max(self._gone.get(uid, 0), int(metadata.get("resourceVersion", 0)))
        if len(self._gone) > MAX_GONE:
            self._gone.popitem(last=False)
        if kind in CLASSES and entry.uid == uid:
            entry.body = b""
            self._refer(key, entry, None)
            # It goes with its server, and no watch tells of that.
            entry.children.pop((POD_MONITOR, name), None)
        elif kind == "Pod":
            _, pod = entry.pods.pop(name, (0, None))
            if pod is not None and pod.job is None:
                entry.freed_at = time.monotonic()
        elif kind not in CLASSES:
            self.forget(key, (kind, name), uid)
        if not (entry.body or entry.children or entry.pods):
            del self._entries[key]

    def forget(self, key: Key, ref: Ref, uid: str) -> None:
        """Drop a child, unless another of the same name has taken its place."""
        entry = self._entries.get(key)
        known = entry.children.get(ref) if entry else None
        if entry is not None and known is not None and known.uid == uid:
            del entry.children[ref]

    def sweep(self, kind: str, namespace: str | None, uids: Set[str], version: int) -> list[Key]:
        """Drop what is not among all objects of a kind that there were at a resourceVersion.

        Returns the keys that it concerned.
        """
        ghosts = [
            (key, metadata)
            for key, entry in self._entries.items()
            if namespace in (None, key.namespace)
            for metadata in _known(key, entry, kind)
            if metadata["uid"] not in uids and int(metadata["resourceVersion"]) <= version
        ]
        for key, metadata in ghosts:
            self._drop(key, kind, metadata)
        return [key for key, _ in ghosts]

    def _refer(self, key: Key, entry: Entry, quantization: Key | None) -> None:
        """Note which quantization a server names now."""
        if entry.quantization is not None and entry.quantization != quantization:
            self._users[entry.quantization].discard(key)
            if not self._users[entry.quantization]:
                del self._users[entry.quantization]
        if quantization is not None:
            self._users.setdefault(quantization, set()).add(key)
        entry.quantization = quantization

    def users(self, quantization: Key) -> tuple[Key, ...]:
        """Servers that name a quantization, whether there is one of that name or not."""
        return tuple(sorted(self._users.get(quantization, ())))

    def named(self, server: Key) -> Key | None:
        """The quantization that a server names, whether there is one of that name or not."""
        entry = self.entry(server)
        return entry.quantization if entry is not None and not entry.deleting else None

    def observe(self, key: Key) -> Observed | ObservedQuantization | None:
        """All that is known of a resource, to be reconciled; None when it is gone or going.

        Raises InvalidObjectError when it breaks the rules of its kind.
        """
        entry = self.entry(key)
        if entry is None or entry.deleting:
            return None
        resource = _parse(key.kind, entry.body)
        claim = entry.given_claim
        if resource.spec.cache.claim_name is None:
            found = entry.children.get(("PersistentVolumeClaim", names.claim(resource)))
            claim = found if isinstance(found, ClaimFacts) else None
        pods = tuple(pod for _, pod in entry.pods.values())
        children = dict(entry.children)
        if isinstance(resource, VLLMServer):
            freed = self.settles(key) > 0
            refusal = self.unmonitored.get(None) or self.unmonitored.get(key.namespace)
            refused = {POD_MONITOR: refusal} if refusal else {}
            return Observed(
                server=resource, children=children, claim=claim, pods=pods, freed=freed, refused=refused
            )
        users = tuple(user for user in map(self.user, self.users(key)) if user is not None)
        return ObservedQuantization(
            quantization=resource, children=children, claim=claim, pods=pods, users=users
        )

    def settles(self, server: Key) -> float:
        """Seconds until the scheduler has surely looked at what the last pod of a server has freed."""
        entry = self._entries.get(server)
        return entry.freed_at + SETTLE_SECONDS - time.monotonic() if entry is not None else 0.0

    def user(self, server: Key) -> User | None:
        """What a quantization knows of a server that names it; None when that is gone or cannot be read."""
        try:
            observed = self.observe(server)
        except InvalidObjectError:
            return None
        return user(observed) if isinstance(observed, Observed) else None


@lru_cache(128)
def _parse(kind: str, body: bytes) -> Ours:
    # A reconcile looks at its resource several times. All of these would take ten times the space.
    return CLASSES[kind].parse(json.loads(body))


def _known(key: Key, entry: Entry, kind: str) -> Iterator[Mapping[str, Any]]:
    """Name, uid and resourceVersion of what is known of a kind."""
    if kind in CLASSES:
        found = [(key.name, entry.uid, entry.resource_version)] if entry.body and key.kind == kind else []
    elif kind == "Pod":
        found = [(name, pod.uid, version) for name, (version, pod) in entry.pods.items()]
    else:
        children = (child for child in entry.children.values() if child.kind == kind)
        found = [(child.name, child.uid, child.resource_version) for child in children]
    for name, uid, version in found:
        yield {"name": name, "uid": uid, "resourceVersion": version}


def _key(kind: str, body: Body) -> Key | None:
    metadata = body["metadata"]
    if kind in CLASSES:
        return Key(kind, metadata["namespace"], metadata["name"])
    resource = facts.resource_of(body)
    return Key(resource[0], metadata["namespace"], resource[1]) if resource else None


def _named(key: Key, body: Body) -> Key | None:
    """The quantization that a server names; an object that cannot be read names none."""
    reference = body.get("spec") or {}
    for part in ("fp8", "quantizationRef"):
        reference = reference.get(part) if isinstance(reference, Mapping) else None
    name = reference.get("name") if isinstance(reference, Mapping) else None
    return Key(FP8Quantization.kind, key.namespace, name) if isinstance(name, str) else None


def _see_pod(entry: Entry, _: str, body: Body, version: int) -> bool:
    name = body["metadata"]["name"]
    if entry.pods.get(name, (0,))[0] >= version:
        return False
    entry.pods[name] = (version, facts.pod(body))
    return True


def _see_child(entry: Entry, kind: str, body: Body, version: int) -> bool:
    ref = (kind, body["metadata"]["name"])
    known = entry.children.get(ref)
    if known is not None and known.resource_version >= version:
        return False
    entry.children[ref] = child = facts.child(kind, body)
    # An autoscaler's status is written every 15 s, and mostly tells nothing that anybody asks about.
    return known is None or replace(known, resource_version=version) != child


def _see_resource(entry: Entry, body: Body, version: int) -> bool:
    metadata = body["metadata"]
    # Whatever its uid: the events of an earlier server of the same name may come late.
    if entry.body and entry.resource_version >= version:
        return False
    kept = {key: metadata.get(key) for key in ("name", "namespace", "uid", "generation")}
    entry.body = json.dumps({"metadata": kept, "spec": body.get("spec")}).encode()
    entry.uid, entry.resource_version = metadata["uid"], version
    entry.generation = metadata.get("generation", 0)
    entry.deleting = "deletionTimestamp" in metadata
    status = body.get("status") or {}
    entry.status_digest = digest(owned(body, names.FIELD_MANAGER, "status"))
    entry.transitions = {
        condition["type"]: Transition(
            condition["status"],
            condition["reason"],
            condition["lastTransitionTime"],
            condition["message"] if condition["type"] == "Verified" else "",
        )
        for condition in status.get("conditions") or ()
    }
    return True

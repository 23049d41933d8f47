"""What the watches have told, in compact form.

Only facts are kept, never whole objects. The answers to our own writes are stored at once, so that a
watch that lags behind never makes a reconcile see, and do again, what is done.
"""

import json
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NamedTuple

from vllm_operator.api.observed import Child, ClaimFacts, Observed, PodFacts, Ref
from vllm_operator.api.vllmserver import KIND, VLLMServer
from vllm_operator.controller import facts
from vllm_operator.desired import names
from vllm_operator.desired.canonical import digest, owned
from vllm_operator.status.conditions import Transition

Body = Mapping[str, Any]

MAX_GONE = 4096
"""Objects that are remembered as gone."""


class Key(NamedTuple):
    """Names a resource of ours."""

    kind: str
    namespace: str
    name: str


@dataclass(slots=True)
class Entry:
    """All that is known of one server."""

    children: dict[Ref, Child] = field(default_factory=dict)
    pods: dict[str, tuple[int, PodFacts]] = field(default_factory=dict)
    given_claim: ClaimFacts | None = None
    """A claim that is not ours, and so not watched."""
    body: bytes = b""
    """Metadata and spec, as JSON; empty while the server itself is unknown."""
    uid: str = ""
    generation: int = 0
    resource_version: int = 0
    deleting: bool = False
    status_digest: bytes = b""
    transitions: Mapping[str, Transition] = field(default_factory=dict)


class Store:
    """Facts of every server, its children and its pods."""

    def __init__(self) -> None:
        self._entries: dict[Key, Entry] = {}
        self._gone: OrderedDict[str, int] = OrderedDict()
        """resourceVersion at which an object went, by its uid: answers to our writes may come after that."""

    def entry(self, key: Key) -> Entry | None:
        """What is known of a server, or None when it does not exist."""
        entry = self._entries.get(key)
        return entry if entry is not None and entry.body else None

    def see(self, kind: str, body: Body) -> Key | None:
        """Take in an object. Returns the key that it concerns, or None when it brings nothing new."""
        key = _key(kind, body)
        if key is None:
            return None
        version = int(body["metadata"]["resourceVersion"])
        if version < self._gone.get(body["metadata"]["uid"], 0):
            return None
        entry = self._entries.setdefault(key, Entry())
        if kind == KIND:
            return key if _see_server(entry, body, version) else None
        see = _see_pod if kind == "Pod" else _see_child
        return key if see(entry, kind, body, version) else None

    def gone(self, kind: str, body: Body) -> Key | None:
        """Take in that an object is gone. Returns the key that it concerns."""
        key = _key(kind, body)
        entry = self._entries.get(key) if key else None
        if key is None or entry is None:
            return None
        name, uid = body["metadata"]["name"], body["metadata"]["uid"]
        # Who was told so by a 404 knows no resourceVersion, and must not undo what the watch has told.
        self._gone[uid] = max(self._gone.get(uid, 0), int(body["metadata"].get("resourceVersion", 0)))
        if len(self._gone) > MAX_GONE:
            self._gone.popitem(last=False)
        if kind == KIND and entry.uid == uid:
            entry.body = b""
        elif kind == "Pod":
            entry.pods.pop(name, None)
        elif kind != KIND:
            self.forget(key, (kind, name), uid)
        if not (entry.body or entry.children or entry.pods):
            del self._entries[key]
        return key

    def forget(self, key: Key, ref: Ref, uid: str) -> None:
        """Drop a child, unless another of the same name has taken its place."""
        entry = self._entries.get(key)
        known = entry.children.get(ref) if entry else None
        if entry is not None and known is not None and known.uid == uid:
            del entry.children[ref]

    def observe(self, key: Key) -> Observed | None:
        """All that is known of a server, to be reconciled; None when it is gone or going.

        Raises InvalidObjectError when it breaks the rules of its kind.
        """
        entry = self.entry(key)
        if entry is None or entry.deleting:
            return None
        server = _parse(entry.body)
        claim = entry.given_claim
        if server.spec.cache.claim_name is None:
            found = entry.children.get(("PersistentVolumeClaim", names.claim(server)))
            claim = found if isinstance(found, ClaimFacts) else None
        pods = tuple(pod for _, pod in entry.pods.values())
        return Observed(server=server, children=dict(entry.children), claim=claim, pods=pods)


@lru_cache(128)
def _parse(body: bytes) -> VLLMServer:
    # A reconcile looks at its server several times. To keep the models of all would take ten times the space.
    return VLLMServer.parse(json.loads(body))


def _key(kind: str, body: Body) -> Key | None:
    metadata = body["metadata"]
    if kind == KIND:
        return Key(KIND, metadata["namespace"], metadata["name"])
    server = facts.server_of(body)
    return Key(KIND, metadata["namespace"], server) if server else None


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
    entry.children[ref] = facts.child(kind, body)
    return True


def _see_server(entry: Entry, body: Body, version: int) -> bool:
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
            condition["status"], condition["reason"], condition["lastTransitionTime"]
        )
        for condition in status.get("conditions") or ()
    }
    return True

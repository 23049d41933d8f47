"""Makes a server's children as they should be, and writes nothing where they are."""

import asyncio
import logging
import time
from collections.abc import Hashable, Mapping
from dataclasses import dataclass

from vllm_operator.api.observed import Child, Manifest, Observed, RecordFacts, Ref
from vllm_operator.api.reasons import Reason, StalledError
from vllm_operator.controller import facts
from vllm_operator.controller.cluster import Cluster
from vllm_operator.controller.outcome import ApiError, WaitingError, rejected
from vllm_operator.controller.store import Key, Store
from vllm_operator.desired.canonical import digest
from vllm_operator.desired.records import Image
from vllm_operator.desired.server import Desired, basis, desired, superfluous
from vllm_operator.status.view import View

COLLECTION_SECONDS = 5.0
"""After which to look whether the children of an earlier server of the same name are gone."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What should be, as far as it must be remembered to see that it is."""

    basis: Hashable
    record: str
    image: str
    refresh_available: bool
    digests: tuple[tuple[Ref, bytes], ...]


class Children:
    """Brings the children of servers to what `desired` says."""

    def __init__(self, store: Store, cluster: Cluster, default: Image) -> None:
        self._store = store
        self._cluster = cluster
        self._default = default
        self._wanted: dict[Key, Wanted] = {}
        self._deployed_at: dict[Key, float] = {}

    def forget(self, key: Key) -> None:
        """Drop what is remembered of a server that is gone."""
        self._wanted.pop(key, None)
        self._deployed_at.pop(key, None)

    def seconds_since_deployed(self, key: Key) -> float:
        """Seconds since a server's Deployment was last written by us."""
        return time.monotonic() - self._deployed_at.get(key, float("-inf"))

    async def make(self, key: Key, observed: Observed) -> Wanted:
        """Create and correct children.

        Raises StalledError, WaitingError or ApiError.
        """
        wanted = self._wanted.get(key)
        if wanted is not None and wanted.basis == basis(observed) and _fits(observed, wanted):
            return wanted
        target = desired(observed, self._default)
        if observed.server.spec.paused:
            _check_nothing_to_do(observed, target)
        digests = {_ref(m): digest(m) for m in target.manifests if m["kind"] != "ControllerRevision"}
        *others, deployment = target.manifests
        # The Deployment comes last: its template is in a record by then, and its cache and account exist.
        results = await asyncio.gather(
            *(self._ensure(key, observed, m, digests) for m in others), return_exceptions=True
        )
        failures = {_ref(m): r for m, r in zip(others, results, strict=True) if isinstance(r, BaseException)}
        for ref, failure in failures.items():
            if not (ref in observed.children and _is_rejection(failure)):
                raise failure
        if await self._ensure(key, observed, deployment, digests):
            self._deployed_at[key] = time.monotonic()
        # A refused change of a child that exists (a claim that cannot grow) keeps no edit from the pods.
        if failures:
            raise next(iter(failures.values()))
        # The basis is what was looked at. What has changed since, by us or others, is looked at next time.
        wanted = Wanted(
            basis=basis(observed),
            record=target.record,
            image=target.image,
            refresh_available=target.refresh_available,
            digests=tuple(digests.items()),
        )
        self._wanted[key] = wanted
        return wanted

    async def prune(self, key: Key, observed: Observed, wanted: Wanted) -> None:
        """Delete children that nobody needs any more. Raises ApiError."""
        if observed.server.spec.paused:
            return
        for old in superfluous(observed, {ref for ref, _ in wanted.digests}, wanted.record):
            await self._cluster.delete((old.kind, old.name), key.namespace, old.uid)
            self._store.forget(key, (old.kind, old.name), old.uid)

    async def _ensure(
        self, key: Key, observed: Observed, manifest: Manifest, digests: Mapping[Ref, bytes]
    ) -> bool:
        """Make one child as it should be. Returns whether anything was written."""
        ref = _ref(manifest)
        child = observed.children.get(ref)
        try:
            if child is None:
                live = await self._cluster.get(ref, key.namespace)
                if live is None:
                    self._store.see(ref[0], await self._cluster.create(manifest))
                    return True
                self._store.see(ref[0], live)
                child = facts.child(ref[0], live)
                _check_ours(child, observed)
                if isinstance(child, RecordFacts):
                    raise ApiError(409, f"record {ref[1]} was there already: its template counts, not ours")
            _check_ours(child, observed)
            if child.deleting or child.digest == digests.get(ref):
                return False
            log.info("%s/%s: %s %s differs from what should be", key.namespace, key.name, *ref)
            self._store.see(ref[0], await self._apply(manifest, child.uid))
        except ApiError as error:
            stalled = rejected(f"{ref[0]} {ref[1]}", error)
            if stalled is None:
                raise
            raise stalled from error
        return True

    async def _apply(self, manifest: Manifest, uid: str) -> Manifest:
        try:
            return await self._cluster.apply(manifest, uid)
        except ApiError as error:
            if manifest["kind"] != "Service" or "Duplicate value" not in error.message:
                raise
        # A Service's ports are known by their number. Where somebody has changed ours, an apply puts it
        # beside the stranger's, and both cannot have the same name.
        await self._cluster.overwrite(manifest, uid, "spec", "ports")
        return await self._cluster.apply(manifest, uid)


def _ref(manifest: Manifest) -> Ref:
    return manifest["kind"], manifest["metadata"]["name"]


def _is_rejection(failure: BaseException) -> bool:
    return isinstance(failure, StalledError) and failure.reason == Reason.CHILD_REJECTED


def _check_nothing_to_do(observed: Observed, target: Desired) -> None:
    """Raise StalledError(Paused) if there is a child to make or to change."""
    live = {ref: child.digest for ref, child in observed.children.items()}
    waiting = [" ".join(_ref(m)) for m in target.manifests if live.get(_ref(m)) != digest(m)]
    if waiting:
        resume = View(observed, target.record).resume()
        raise StalledError(
            Reason.PAUSED, f"spec.paused is true. To make or change: {', '.join(waiting)}. Resume: {resume}"
        )


def _fits(observed: Observed, wanted: Wanted) -> bool:
    for ref, wanted_digest in wanted.digests:
        child = observed.children.get(ref)
        if child is None or child.digest != wanted_digest:
            return False
    return True


def _check_ours(child: Child, observed: Observed) -> None:
    """Raise unless a child belongs to the server. What is not ours is never adopted."""
    server = observed.server
    if child.owner == server.uid:
        return
    if child.kind == "PersistentVolumeClaim" and child.owner is None and child.server == server.name:
        return  # a retained claim has no owner, and is found again by its label
    what = f"{child.kind} {child.name}"
    if child.owner is not None and child.server == server.name:
        raise WaitingError(
            Reason.ROLLING_OUT,
            f"{what} belongs to an earlier VLLMServer {server.name} and is about to be collected",
            COLLECTION_SECONDS,
        )
    raise StalledError(
        Reason.NOT_OWNED,
        f"{what} exists and does not belong to this VLLMServer. Delete it "
        f"(`kubectl -n {server.namespace} delete {child.kind.lower()} {child.name}`) or choose another name",
    )

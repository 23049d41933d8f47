"""Makes the children of a resource as they should be, and writes nothing where they are."""

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from vllm_operator.api.observed import (
    POD_MONITOR,
    DeploymentFacts,
    MicroserviceRecord,
    RecordFacts,
)
from vllm_operator.api.quantized import QuantizationRecord
from vllm_operator.api.reasons import Reason, StalledError
from vllm_operator.api.seen import Child, Manifest, Ref, Refusal
from vllm_operator.controller import facts, outcome
from vllm_operator.controller.cluster import Cluster
from vllm_operator.controller.kinds import KINDS
from vllm_operator.controller.outcome import PASSING, ApiError, WaitingError, rejected
from vllm_operator.controller.store import Key, Store
from vllm_operator.controller.ties import Everything
from vllm_operator.controller.wanted import Wanted, digest_of, held, paused, ref_of
from vllm_operator.desired import accessories
from vllm_operator.desired.defaults import Defaults
from vllm_operator.desired.manifests import Desired

COLLECTION_SECONDS = 5.0
"""After which to look whether the children of an earlier server of the same name are gone."""

RECORDS = RecordFacts | QuantizationRecord | MicroserviceRecord

PODS_OF = ("Job", "Deployment")
"""Kinds of which other controllers make pods."""

log = logging.getLogger(__name__)


class Children:
    """Brings the children of resources to what `desired` says."""

    def __init__(self, store: Store, cluster: Cluster, defaults: Defaults) -> None:
        self._store = store
        self._cluster = cluster
        self._defaults = defaults
        self._wanted: dict[Key, Wanted] = {}
        self._deployed_at: dict[Key, float] = {}
        self._passing: dict[Key, int] = {}
        """How often in a row parts that no pod depends on have failed by passing faults."""

    def forget(self, key: Key) -> None:
        """Drop what is remembered of a resource that is gone."""
        self._wanted.pop(key, None)
        self._deployed_at.pop(key, None)
        self._passing.pop(key, None)

    def seconds_since_deployed(self, key: Key) -> float:
        """Seconds since a server's Deployment was last written by us."""
        return time.monotonic() - self._deployed_at.get(key, float("-inf"))

    async def make(self, key: Key, observed: Everything) -> Wanted:
        """Create and correct children.

        Raises StalledError or WaitingError if nobody can tell what should be; ApiError, OSError or
        TimeoutError for a passing fault of what the pods depend on.
        """
        kind, known = KINDS[key.kind], self._wanted.get(key)
        if known is not None and known.basis == kind.basis(observed) and known.fits(observed):
            return known
        target = kind.desired(observed, self._defaults)
        # The basis is what was looked at. What has changed since, by us or others, is looked at next time.
        wanted = Wanted(
            basis=kind.basis(observed),
            target=target.target,
            digests=tuple(
                (ref_of(m), digest_of(m)) for m in target.manifests if m["kind"] != "ControllerRevision"
            ),
            refused=target.refused,
            again=outcome.STALLED_RECHECK_SECONDS if target.refused else None,
        )
        if paused(observed):
            made = held(observed, target, wanted)
        else:
            made = await self._make(key, observed, target, wanted)
        if made == wanted:
            self._wanted[key] = wanted
        return made

    async def _make(self, key: Key, observed: Everything, target: Desired[Any], wanted: Wanted) -> Wanted:
        digests = dict(wanted.digests)
        beside = [manifest for manifest in target.manifests if accessories.part(manifest)]
        own = [manifest for manifest in target.manifests if not accessories.part(manifest)]
        blocked = await self._own(key, observed, own, digests)
        refused, again = await self._beside(key, observed, beside, digests)
        waits = [each for each in (wanted.again, again) if each is not None]
        refused = {**target.refused, **refused}
        return replace(wanted, refused=refused, blocked=blocked, again=min(waits, default=None))

    async def _own(
        self, key: Key, observed: Everything, manifests: Sequence[Manifest], digests: Mapping[Ref, bytes]
    ) -> StalledError | WaitingError | None:
        """Make the pods and what they depend on. Returns why not all of it could be made.

        Raises ApiError, OSError or TimeoutError.
        """
        # What makes pods comes last: by then a template is in a record, and cache and account exist.
        others = [manifest for manifest in manifests if manifest["kind"] not in PODS_OF]
        results = await asyncio.gather(
            *(self._ensure(key, observed, m, digests) for m in others), return_exceptions=True
        )
        failures = {
            ref_of(m): r for m, r in zip(others, results, strict=True) if isinstance(r, BaseException)
        }
        refused: StalledError | None = None
        try:
            for ref, failure in failures.items():
                # A refused change of a child that exists (a claim that cannot grow) keeps no edit from the
                # pods.
                if ref not in observed.children or not isinstance(failure, StalledError):
                    raise failure
                if failure.reason != Reason.CHILD_REJECTED:
                    raise failure
                refused = refused or failure
            for manifest in manifests:
                if manifest["kind"] in PODS_OF and await self._ensure(key, observed, manifest, digests):
                    self._deployed_at[key] = time.monotonic()
        except (StalledError, WaitingError) as error:
            return error
        return refused

    async def _beside(
        self, key: Key, observed: Everything, manifests: Sequence[Manifest], digests: Mapping[Ref, bytes]
    ) -> tuple[dict[str, Refusal], float | None]:
        """Make what no pod depends on. Its faults are none of the resource, which is looked at as ever.

        Returns the parts that could not be made, and after how many seconds to try again.
        """
        faults: dict[str, Exception] = {}
        for manifest in manifests:
            part = accessories.part(manifest)
            if part is None or part in faults:
                continue
            try:
                await self._ensure(key, observed, manifest, digests)
            except (StalledError, WaitingError, *PASSING) as error:
                faults[part] = _of_part(manifest, error)
        told = {part: e for part, e in faults.items() if isinstance(e, StalledError | WaitingError)}
        again = [outcome.recheck_seconds(error) for error in told.values()]
        passing = [error for part, error in faults.items() if part not in told]
        if passing:
            again.append(self._back_off(key, passing))
        else:
            self._passing.pop(key, None)
        refused = {part: Refusal(error.reason, error.message) for part, error in told.items()}
        return refused, min(again, default=None)

    def _back_off(self, key: Key, faults: Sequence[Exception]) -> float:
        """Seconds after which to try again what failed by passing faults: twice as long each time."""
        count = self._passing.get(key, 0)
        self._passing[key] = count + 1
        asked = (error.retry_after for error in faults if isinstance(error, ApiError))
        seconds = max(min(2.0 ** min(count, 16), outcome.STALLED_RECHECK_SECONDS), *asked, 0.0)
        words = "; ".join(str(error) or type(error).__name__ for error in faults)
        log.warning("%s/%s: %s; again in %.0f s", key.namespace, key.name, words, seconds)
        return seconds

    async def prune(self, key: Key, observed: Everything, wanted: Wanted, now: str) -> None:
        """Delete children that nobody needs any more. Raises ApiError."""
        if paused(observed):
            return
        refs = {ref for ref, _ in wanted.digests}
        for old in KINDS[key.kind].superfluous(observed, refs, wanted.target, now):
            await self._cluster.delete((old.kind, old.name), key.namespace, old.uid)
            self._store.forget(key, (old.kind, old.name), old.uid)

    async def _ensure(
        self, key: Key, observed: Everything, manifest: Manifest, digests: Mapping[Ref, bytes]
    ) -> bool:
        """Make one child as it should be. Returns whether anything was written."""
        ref = ref_of(manifest)
        child = observed.children.get(ref)
        try:
            try:
                return await self._bring(key, observed, manifest, child, digests)
            except ApiError as error:
                if child is None or ref[0] != POD_MONITOR or error.status != 409:
                    raise
                # Nobody watches these: it is gone, or another by now.
                self._store.forget(key, ref, child.uid)
                return await self._bring(key, observed, manifest, None, digests)
        except ApiError as error:
            stalled = rejected(f"{ref[0]} {ref[1]}", error)
            if stalled is None:
                raise
            raise stalled from error

    async def _bring(
        self,
        key: Key,
        observed: Everything,
        manifest: Manifest,
        child: Child | None,
        digests: Mapping[Ref, bytes],
    ) -> bool:
        ref = ref_of(manifest)
        if child is None:
            live = await self._cluster.get(ref, key.namespace)
            if live is None:
                self._store.see(ref[0], await self._cluster.create(manifest))
                return True
            self._store.see(ref[0], live)
            child = facts.child(ref[0], live)
            _check_ours(child, observed)
            if isinstance(child, RECORDS | DeploymentFacts):
                # What it holds decides what should be, and has not been looked at.
                raise ApiError(409, f"{ref[0]} {ref[1]} was there already, unseen")
        _check_ours(child, observed)
        if child.deleting or child.digest == digests.get(ref):
            return False
        log.info("%s/%s: %s %s differs from what should be", key.namespace, key.name, *ref)
        self._store.see(ref[0], await self._apply(manifest, child.uid))
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


def _of_part(manifest: Manifest, error: Exception) -> Exception:
    """The fault of a part, which somebody must mend if not even its kind is there."""
    if not isinstance(error, ApiError) or error.status != 404:
        return error
    if manifest["kind"] == POD_MONITOR:
        return StalledError(*outcome.NO_POD_MONITOR)
    return StalledError(Reason.CHILD_REJECTED, outcome.refusal(" ".join(ref_of(manifest)), error))


def _check_ours(child: Child, observed: Everything) -> None:
    """Raise unless a child belongs to the server. What is not ours is never adopted."""
    resource = observed.resource
    if child.owner == resource.uid:
        return
    named = child.resource == (resource.kind, resource.name)
    if child.kind == "PersistentVolumeClaim" and child.owner is None and named:
        return  # a retained claim has no owner, and is found again by its label
    what = f"{child.kind} {child.name}"
    if child.owner is not None and named:
        raise WaitingError(
            Reason.ROLLING_OUT,
            f"{what} belongs to an earlier {resource.kind} {resource.name} and is about to be collected",
            COLLECTION_SECONDS,
        )
    raise StalledError(
        Reason.NOT_OWNED,
        f"{what} exists and does not belong to this {resource.kind}. Delete it "
        f"(`kubectl -n {resource.namespace} delete {child.kind.lower()} {child.name}`) or choose another "
        "name",
    )

"""Makes the children of a resource as they should be, and writes nothing where they are."""

import asyncio
import logging
import time
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from vllm_operator.api.observed import DeploymentFacts, MicroserviceRecord, Observed, RecordFacts, Target
from vllm_operator.api.quantized import QuantizationRecord, QuantizationTarget
from vllm_operator.api.reasons import Reason, StalledError
from vllm_operator.api.seen import Child, Manifest, Ref, Refusal
from vllm_operator.controller import facts
from vllm_operator.controller.cluster import Cluster
from vllm_operator.controller.kinds import KINDS
from vllm_operator.controller.outcome import ApiError, WaitingError, refusal, rejected
from vllm_operator.controller.store import Key, Store
from vllm_operator.controller.ties import Everything
from vllm_operator.desired import accessories
from vllm_operator.desired.canonical import IMMUTABLE, digest, same_but_for_labels
from vllm_operator.desired.defaults import Defaults
from vllm_operator.desired.manifests import Desired
from vllm_operator.status.view import View

COLLECTION_SECONDS = 5.0
"""After which to look whether the children of an earlier server of the same name are gone."""

RECORDS = RecordFacts | QuantizationRecord | MicroserviceRecord

PODS_OF = ("Job", "Deployment")
"""Kinds of which other controllers make pods."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What should be, as far as it must be remembered to see that it is."""

    basis: Hashable
    target: Target | QuantizationTarget
    digests: tuple[tuple[Ref, bytes], ...]
    refused: Mapping[str, Refusal] = field(default_factory=dict)
    """Parts (`desired.accessories.part`) that could not be made, and why; no other child waits for these."""


class Children:
    """Brings the children of resources to what `desired` says."""

    def __init__(self, store: Store, cluster: Cluster, defaults: Defaults) -> None:
        self._store = store
        self._cluster = cluster
        self._defaults = defaults
        self._wanted: dict[Key, Wanted] = {}
        self._deployed_at: dict[Key, float] = {}

    def forget(self, key: Key) -> None:
        """Drop what is remembered of a resource that is gone."""
        self._wanted.pop(key, None)
        self._deployed_at.pop(key, None)

    def seconds_since_deployed(self, key: Key) -> float:
        """Seconds since a server's Deployment was last written by us."""
        return time.monotonic() - self._deployed_at.get(key, float("-inf"))

    async def make(self, key: Key, observed: Everything) -> Wanted:
        """Create and correct children.

        Raises StalledError, WaitingError or ApiError.
        """
        kind, wanted = KINDS[key.kind], self._wanted.get(key)
        if wanted is not None and wanted.basis == kind.basis(observed) and _fits(observed, wanted):
            return wanted
        target = kind.desired(observed, self._defaults)
        digests = {_ref(m): _digest(m) for m in target.manifests if m["kind"] != "ControllerRevision"}
        refused: dict[str, Refusal] = {}
        if _paused(observed):
            _check_nothing_to_do(observed, target)
        else:
            refused = await self._make(key, observed, target.manifests, digests)
        # The basis is what was looked at. What has changed since, by us or others, is looked at next time.
        wanted = Wanted(
            basis=kind.basis(observed),
            target=target.target,
            digests=tuple(digests.items()),
            refused=target.refused,
        )
        self._wanted[key] = wanted
        return replace(wanted, refused={**target.refused, **refused})

    async def _beside(
        self, key: Key, observed: Everything, manifests: Sequence[Manifest], digests: Mapping[Ref, bytes]
    ) -> dict[str, Refusal]:
        """Make what no pod depends on. Returns what could not be made, which is no fault of the resource."""
        refused: dict[str, Refusal] = {}
        for manifest in manifests:
            part, (kind, name) = accessories.part(manifest), _ref(manifest)
            if part is None or part in refused:
                continue
            try:
                await self._ensure(key, observed, manifest, digests)
            except (StalledError, WaitingError) as error:
                refused[part] = Refusal(error.reason, error.message)
            except ApiError as error:
                # Gone with its kind, or an admission webhook that does not answer.
                if error.status not in (404, 500):
                    raise
                refused[part] = Refusal(Reason.CHILD_REJECTED, refusal(f"{kind} {name}", error))
        return refused

    async def _make(
        self, key: Key, observed: Everything, manifests: Sequence[Manifest], digests: Mapping[Ref, bytes]
    ) -> dict[str, Refusal]:
        beside = [manifest for manifest in manifests if accessories.part(manifest)]
        own = [manifest for manifest in manifests if not accessories.part(manifest)]
        # What makes pods comes last: by then a template is in a record, and cache and account exist.
        others = [manifest for manifest in own if manifest["kind"] not in PODS_OF]
        results = await asyncio.gather(
            *(self._ensure(key, observed, m, digests) for m in others), return_exceptions=True
        )
        failures = {_ref(m): r for m, r in zip(others, results, strict=True) if isinstance(r, BaseException)}
        for ref, failure in failures.items():
            if not (ref in observed.children and _is_rejection(failure)):
                raise failure
        for manifest in own:
            if manifest["kind"] in PODS_OF and await self._ensure(key, observed, manifest, digests):
                self._deployed_at[key] = time.monotonic()
        refused = await self._beside(key, observed, beside, digests)
        # A refused change of a child that exists (a claim that cannot grow) keeps no edit from the pods.
        if failures:
            raise next(iter(failures.values()))
        return refused

    async def prune(self, key: Key, observed: Everything, wanted: Wanted, now: str) -> None:
        """Delete children that nobody needs any more. Raises ApiError."""
        if _paused(observed):
            return
        refs = {ref for ref, _ in wanted.digests}
        for old in KINDS[key.kind].superfluous(observed, refs, wanted.target, now):
            await self._cluster.delete((old.kind, old.name), key.namespace, old.uid)
            self._store.forget(key, (old.kind, old.name), old.uid)

    async def _ensure(
        self, key: Key, observed: Everything, manifest: Manifest, digests: Mapping[Ref, bytes]
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
                if isinstance(child, RECORDS | DeploymentFacts):
                    # What it holds decides what should be, and has not been looked at.
                    raise ApiError(409, f"{ref[0]} {ref[1]} was there already, unseen")
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


def _digest(manifest: Manifest) -> bytes:
    return b"" if manifest["kind"] in IMMUTABLE else digest(manifest)


def _paused(observed: Everything) -> bool:
    return isinstance(observed, Observed) and observed.server.spec.paused


def _is_rejection(failure: BaseException) -> bool:
    return isinstance(failure, StalledError) and failure.reason == Reason.CHILD_REJECTED


def _check_nothing_to_do(observed: Everything, target: Desired[Any]) -> None:
    """Raise StalledError(Paused) if there is a child to make or to change.

    Labels do not count. A child's are the operator's alone: no spec asks for others, and a newer operator
    with others must not make every paused server look unfinished. They are put right after the pause.
    """
    live = {ref: child.digest for ref, child in observed.children.items()}
    waiting = [
        " ".join(ref)
        for ref, manifest in ((_ref(m), m) for m in target.manifests)
        if ref not in live or not same_but_for_labels(live[ref], _digest(manifest))
    ]
    if waiting:
        resume = View(observed, target.target).resume()
        raise StalledError(
            Reason.PAUSED, f"spec.paused is true. To make or change: {', '.join(waiting)}. Resume: {resume}"
        )


def _fits(observed: Everything, wanted: Wanted) -> bool:
    for ref, wanted_digest in wanted.digests:
        child = observed.children.get(ref)
        if child is None or child.digest != wanted_digest:
            return False
    return True


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

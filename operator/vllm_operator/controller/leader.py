"""Who reconciles, of several operators: the one that holds the Lease. After client-go's tools/leaderelection.

No clock of another machine is read: a Lease has expired when its record has not changed for its duration by
our own clock. A holder may write for less long than others wait for it, counted from before it asked for
its last renewal, so that the time of its last write is before that at which another may begin.
"""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from datetime import UTC, datetime
from typing import Any, Protocol

from vllm_operator.api.seen import Manifest, Ref
from vllm_operator.controller.outcome import PASSING, ApiError
from vllm_operator.desired import names

LEASE_SECONDS = 15
"""How long others wait for a holder that is silent. client-go's value: models are served on meanwhile, so
nothing calls for less, and a renewal is a write to the cluster's etcd."""
TERM_SECONDS = 10.0
"""How long a holder may write after a renewal (client-go: the renew deadline). What it has sent by then has
the rest of the Lease to arrive in, or to be dropped (`sockets.py`)."""
RENEW_SECONDS = 4.0
"""Seconds from one renewal to the next: half of client-go's writes, and still room for a second attempt."""
RETRY_SECONDS = 1.0
"""Seconds between attempts that fail."""
REQUEST_SECONDS = 4.0
"""Time limit of a request: an attempt that hangs leaves room for another on a new connection."""

LEASE: Ref = ("Lease", names.FIELD_MANAGER)

_NEVER = float("-inf")

log = logging.getLogger(__name__)


class LostError(Exception):
    """The Lease is not, or may soon not be ours any more."""


class Door(Protocol):
    """What an elector needs of a cluster; all of it raises ApiError, OSError or TimeoutError."""

    async def get(self, ref: Ref, namespace: str) -> Manifest | None:
        """An object, or None when there is none."""

    async def post(self, manifest: Manifest) -> Manifest:
        """Create an object; 409 if there is one."""

    async def put(self, manifest: Manifest) -> Manifest:
        """Replace an object; 409 if it is not of the manifest's resourceVersion any more."""

    def watch(self, ref: Ref, namespace: str, version: str) -> AsyncGenerator[Manifest | None, None]:
        """All changes of an object since a version; None when it was deleted."""


def monotonic() -> float:
    """Seconds by a clock that nobody sets, and that goes on while the machine sleeps (where there is one)."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


class Elector:
    """Takes the Lease when it is free, renews it, gives it back."""

    def __init__(
        self, door: Door, namespace: str, identity: str, now: Callable[[], float] = monotonic
    ) -> None:
        self._door = door
        self._namespace = namespace
        self._identity = identity
        self._now = now
        self._lease: Manifest | None = None
        """As it was last seen, with what others have written on it."""
        self._spec: dict[str, Any] = {}
        """Its last record: it counts on when somebody deletes the Lease under its holder."""
        self._changed_at = _NEVER
        self._until = _NEVER
        self._claimed = False
        """Whether we may hold it: an answer that never came may have said yes."""
        self.following = False
        """Whether another holds it, and we would learn of its end."""

    def holds(self) -> bool:
        """Whether we may write: to be asked before anything is sent."""
        return self._now() < self._until

    async def acquire(self) -> None:
        """Wait for the Lease. Writes nothing while another holds it."""
        while True:
            try:
                if await self._attempt():
                    break
            except PASSING as error:
                self.following = False
                log.warning("cannot follow the Lease %s: %s", self, error or type(error).__name__)
            await asyncio.sleep(RETRY_SECONDS)
        self.following = False
        log.info("holding the Lease %s as %s", self, self._identity)

    async def hold(self) -> None:
        """Renew the Lease. Ends by LostError only."""
        pause = RENEW_SECONDS
        while True:
            await asyncio.sleep(min(pause, max(self._until - self._now(), 0.0)))
            start = self._now()
            if start >= self._until:
                self._claimed = False
                raise LostError(f"the Lease {self} was not renewed for {TERM_SECONDS:.0f} s")
            try:
                async with asyncio.timeout(min(REQUEST_SECONDS, self._until - start)):
                    self._see(await self._renew())
            except PASSING as error:
                log.warning("cannot renew the Lease %s: %s", self, error or type(error).__name__)
                pause = RETRY_SECONDS
            else:
                self._until = start + TERM_SECONDS
                pause = RENEW_SECONDS

    async def release(self) -> None:
        """Give the Lease back if it is ours, so that another has it at once. Nothing is written after it."""
        self._until = _NEVER
        if not self._claimed:
            return
        self._claimed = False
        try:
            async with asyncio.timeout(REQUEST_SECONDS):
                # Read, because an answer may have been cut off by the end of `hold` or `acquire`.
                self._see(await self._door.get(LEASE, self._namespace))
                if self._lease is not None and self._holder() == self._identity:
                    # One second, as client-go: zero is not valid.
                    await self._door.put(self._manifest("", 1))
                    log.info("gave back the Lease %s", self)
        except PASSING as error:
            log.warning("cannot give back the Lease %s: %s", self, error or type(error).__name__)

    def __str__(self) -> str:
        """Where the Lease is."""
        return f"{self._namespace}/{LEASE[1]}"

    async def _attempt(self) -> bool:
        """Wait until the Lease is free, and take it. False means that it has to be looked at anew."""
        async with asyncio.timeout(REQUEST_SECONDS):
            self._see(await self._door.get(LEASE, self._namespace))
        if self._free_in() > 0 and not await self._freed():
            return False
        start = self._now()
        self._claimed = True
        write = self._door.put if self._lease is not None else self._door.post
        try:
            async with asyncio.timeout(REQUEST_SECONDS):
                self._see(await write(self._manifest(self._identity, LEASE_SECONDS)))
        except ApiError as error:
            if error.status in (404, 409):
                return False
            raise
        self._until = start + TERM_SECONDS
        return True

    async def _freed(self) -> bool:
        """Follow the Lease until it is free. False means that the watch has ended before.

        A watch, and not a look every half second: at rest it costs the API server no request at all.
        """
        version = self._lease["metadata"]["resourceVersion"] if self._lease is not None else ""
        try:
            async with (
                asyncio.timeout(self._free_in()) as limit,
                aclosing(self._door.watch(LEASE, self._namespace, version)) as leases,
            ):
                self.following = True
                async for lease in leases:
                    self._see(lease)
                    if self._free_in() <= 0:
                        return True
                    limit.reschedule(asyncio.get_running_loop().time() + self._free_in())
        except TimeoutError:
            # Whoever renewed it unseen by us has changed its resourceVersion, and so we cannot take it.
            return limit.expired()
        return False

    async def _renew(self) -> Manifest:
        manifest = self._manifest(self._identity, LEASE_SECONDS)
        try:
            return await self._door.put(manifest)
        except ApiError as error:
            if error.status not in (404, 409):
                raise
        # Not as we left it: by an answer that never came, by somebody's edit, or by a new holder.
        self._see(await self._door.get(LEASE, self._namespace))
        if self._lease is None:
            return await self._door.post(manifest)
        if self._holder() != self._identity:
            self._until = _NEVER
            raise LostError(f"{self._holder() or 'nobody'} holds the Lease {self}")
        return await self._door.put(self._manifest(self._identity, LEASE_SECONDS))

    def _see(self, lease: Manifest | None) -> None:
        before = self._holder()
        self._lease = lease
        spec = (lease or {}).get("spec") or {}
        if lease is not None and spec != self._spec:
            self._spec, self._changed_at = spec, self._now()
        holder = self._holder()
        if holder not in (before, "", self._identity):
            log.info("standing by: %s holds the Lease %s", holder, self)

    def _holder(self) -> str:
        return self._spec.get("holderIdentity") or ""

    def _free_in(self) -> float:
        """In how many seconds the Lease is to be had, if its record does not change."""
        if self._holder() in ("", self._identity):
            return 0.0
        duration = self._spec.get("leaseDurationSeconds") or LEASE_SECONDS
        if self._lease is None:
            # Its holder has not yet seen that it is deleted. No longer than ours: the way out of a wrong one.
            duration = min(duration, LEASE_SECONDS)
        return self._changed_at + float(duration) - self._now()

    def _manifest(self, holder: str, seconds: int) -> Manifest:
        # Always six digits: client-go reads no other number of them than those of RFC 3339 with micro.
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        before = self._spec
        kept = before.get("acquireTime") if holder == self._holder() else None
        taken = bool(before or self._lease) and holder not in ("", self._holder())
        spec = {
            "holderIdentity": holder,
            "leaseDurationSeconds": seconds,
            "acquireTime": kept or now,
            "renewTime": now,
            "leaseTransitions": (before.get("leaseTransitions") or 0) + taken,
        }
        new = {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": LEASE[1], "namespace": self._namespace},
        }
        return {**(self._lease or new), "spec": spec}

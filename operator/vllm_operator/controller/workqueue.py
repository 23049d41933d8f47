"""A work queue of keys, after client-go's: no key twice, no key by two workers, back-off by key.

Users' changes go before new objects, those before children's events, and those before resyncs, so that a
backlog delays nobody who waits at a terminal, not even that of a thousand servers created at once.
"""

import asyncio
import random
import time
from collections.abc import Hashable
from enum import IntEnum
from typing import Generic, TypeVar

BASE_DELAY_SECONDS = 0.2
MAX_DELAY_SECONDS = 300.0


class Priority(IntEnum):
    """Who is served first."""

    USER = 0
    NEW = 1
    CHILD = 2
    RESYNC = 3


K = TypeVar("K", bound=Hashable)


class WorkQueue(Generic[K]):
    """Keys that wait for a worker."""

    def __init__(self) -> None:
        self._waiting: tuple[dict[K, float], ...] = tuple({} for _ in Priority)
        """For each priority, keys in order of arrival and when they arrived (monotonic seconds)."""
        self._active: dict[K, float] = {}
        """Keys that a worker has, and since when (monotonic seconds)."""
        self._again: dict[K, Priority] = {}
        """Keys that came while they were worked on."""
        self._timers: dict[K, asyncio.TimerHandle] = {}
        self._failures: dict[K, int] = {}
        self._more = asyncio.Event()

    def add(self, key: K, priority: Priority) -> None:
        """Queue a key, or move it forward when it already waits with a lesser priority."""
        if key in self._active:
            self._again[key] = min(priority, self._again.get(key, priority))
            return
        for waiting in self._waiting[: priority + 1]:
            if key in waiting:
                return
        since = time.monotonic()
        for waiting in self._waiting[priority + 1 :]:
            since = waiting.pop(key, since)
        self._waiting[priority][key] = since
        self._more.set()

    def add_after(self, key: K, seconds: float) -> None:
        """Queue a key later. An earlier timer of the same key stays, a later one is replaced."""
        loop = asyncio.get_running_loop()
        timer = self._timers.get(key)
        if timer is not None:
            if timer.when() <= loop.time() + seconds:
                return
            timer.cancel()
        self._timers[key] = loop.call_later(seconds, self._ring, key)

    def _ring(self, key: K) -> None:
        del self._timers[key]
        self.add(key, Priority.RESYNC)

    def retry(self, key: K, least_seconds: float = 0.0) -> float:
        """Queue a key again after a delay that doubles with each failure. Returns the delay in seconds."""
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        delay = min(BASE_DELAY_SECONDS * 2.0 ** min(failures, 16), MAX_DELAY_SECONDS)
        delay = max(least_seconds, delay * random.uniform(0.75, 1.25))  # noqa: S311 - no secret
        self.add_after(key, delay)
        return delay

    def succeeded(self, key: K) -> None:
        """Forget the failures of a key."""
        self._failures.pop(key, None)

    def drop_timer(self, key: K) -> None:
        """Forget that a key was to come later."""
        timer = self._timers.pop(key, None)
        if timer is not None:
            timer.cancel()

    async def get(self) -> K:
        """The next key, which then belongs to the caller until `done`."""
        while True:
            for waiting in self._waiting:
                if waiting:
                    key = next(iter(waiting))
                    del waiting[key]
                    self._active[key] = time.monotonic()
                    return key
            self._more.clear()
            await self._more.wait()

    def done(self, key: K) -> None:
        """Give a key back; it is queued again if it came meanwhile."""
        del self._active[key]
        priority = self._again.pop(key, None)
        if priority is not None:
            self.add(key, priority)

    def __len__(self) -> int:
        """How many keys wait."""
        return sum(len(waiting) for waiting in self._waiting)

    def oldest_seconds(self) -> float:
        """For how long the key that waits longest has waited."""
        arrivals = [min(waiting.values()) for waiting in self._waiting if waiting]
        return time.monotonic() - min(arrivals) if arrivals else 0.0

    def active_oldest_seconds(self) -> float:
        """For how long a worker has had the key that it has had longest."""
        return time.monotonic() - min(self._active.values()) if self._active else 0.0

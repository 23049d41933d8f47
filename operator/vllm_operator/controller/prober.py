"""Decides when servers are asked as clients would ask them, and who is to hear of the answer."""

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from vllm_operator.api.reasons import Reason
from vllm_operator.api.seen import Answer, Question
from vllm_operator.controller.store import Key

if TYPE_CHECKING:
    from vllm_operator.controller.probe import Client

ROUND_SECONDS = 1800.0
"""Seconds from one time that a server is asked to the next."""
ATTEMPTS = 3
"""Failures in a row before one is told: a Service learns of its pods later than the API server."""
PAUSE_SECONDS = 2.0
"""Seconds from a failure that is not told to the next attempt; what is told doubles it, up to a round."""
AT_ONCE = 8
"""Servers that are asked at the same time."""

_GOOD = frozenset({Reason.ANSWERS, Reason.KEY_REQUIRED})


@dataclass(slots=True)
class _Asked:
    question: Question
    answer: Answer | None = None
    """The last one that was told."""
    failures: int = 0
    task: asyncio.Task[None] | None = field(default=None, repr=False)


class Prober:
    """Asks in the background, and wakes a server whose answer is another than before."""

    def __init__(
        self, wake: Callable[[Key], None], *, enabled: bool = True, proxy: str | None = None
    ) -> None:
        self._wake = wake
        self.enabled = enabled
        """Whether any server is asked."""
        self._proxy = proxy
        self._client: Client | None = None
        self._asked: dict[Key, _Asked] = {}
        self._turn = asyncio.Semaphore(AT_ONCE)

    def look(self, key: Key, question: Question | None, *, known: bool = False) -> Answer | None:
        """What came of a question, if anything has yet; from now on it is asked again and again.

        With `known` the status holds an answer: after a start not all are asked at once.
        """
        asked = self._asked.get(key)
        if question is None or not self.enabled:
            self.forget(key)
            return None
        if asked is None or asked.question != question:
            later = random.uniform(0, ROUND_SECONDS) if asked is None and known else 0.0  # noqa: S311 - no secret
            self.forget(key)
            asked = self._asked[key] = _Asked(question)
            asked.task = asyncio.create_task(self._go_on(key, asked, later))
        return asked.answer

    def forget(self, key: Key) -> None:
        """Ask a server no more."""
        asked = self._asked.pop(key, None)
        if asked is not None and asked.task is not None:
            asked.task.cancel()

    async def close(self) -> None:
        """Ask nobody any more."""
        tasks = [asked.task for asked in self._asked.values() if asked.task is not None]
        for key in list(self._asked):
            self.forget(key)
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._client is not None:
            await self._client.aclose()

    async def _go_on(self, key: Key, asked: _Asked, later: float) -> None:
        await asyncio.sleep(later)
        # Not before it is of use: httpx takes two megabytes, and nobody may be asked.
        from vllm_operator.controller import probe  # noqa: PLC0415

        self._client = self._client or probe.client(self._proxy)
        while True:
            async with self._turn:
                answer = await probe.ask(self._client, asked.question, proxied=self._proxy is not None)
            good = answer.reason in _GOOD
            asked.failures = 0 if good else asked.failures + 1
            if good or asked.failures >= ATTEMPTS:
                before, asked.answer = asked.answer, answer
                if before is None or before.reason is not answer.reason:
                    self._wake(key)
            await asyncio.sleep(_pause(asked.failures))


def _pause(failures: int) -> float:
    told = max(0, failures - ATTEMPTS)
    seconds = min(PAUSE_SECONDS * 2.0 ** min(told, 16), ROUND_SECONDS) if failures else ROUND_SECONDS
    return seconds * random.uniform(0.8, 1.2)  # noqa: S311 - no secret

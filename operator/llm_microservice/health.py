"""Whether vLLM can answer: asked of vLLM itself, and believed for some seconds only when it can."""

import asyncio
import time

from llm_microservice.problems import Problem, unavailable
from llm_microservice.settings import Settings
from llm_microservice.upstream import Upstream

TIMEOUT = 4.0
"""Seconds for vLLM's answer; less than a probe of a kubelet is usually given."""


class Health:
    """What is known of vLLM."""

    def __init__(self, upstream: Upstream, settings: Settings):
        """Nothing is known yet."""
        self._upstream, self._model, self._cache = upstream, settings.model, settings.health_cache
        self._good_until = 0.0
        self._running: asyncio.Task[None] | None = None

    def forget(self) -> None:
        """A request has just found that vLLM cannot answer."""
        self._good_until = 0.0

    async def check(self) -> None:
        """Return if vLLM can answer. Those who ask at the same time share one look.

        Raises Problem.
        """
        if time.monotonic() < self._good_until:
            return
        if self._running is None:
            self._running = asyncio.create_task(self._look())
            self._running.add_done_callback(self._looked)
        # Who asked first may leave; the others wait on.
        await asyncio.shield(self._running)

    def _looked(self, task: asyncio.Task[None]) -> None:
        self._running = None
        if task.cancelled() or task.exception() is not None:
            self.forget()
        else:
            self._good_until = time.monotonic() + self._cache

    async def _look(self) -> None:
        # Without a model in the engine vLLM's web server still lists models; /health asks the engine.
        try:
            async with asyncio.timeout(TIMEOUT):
                status, _ = await self._upstream.look("/health")
                # Another server that speaks OpenAI's words may have no such page.
                if status not in (200, 404):
                    raise unavailable(f"vLLM is not healthy: /health answers {status}")
                self._judge(*await self._upstream.look("/v1/models"))
        except TimeoutError as error:
            raise unavailable(f"vLLM has not answered within {TIMEOUT:.0f} s") from error
        except Problem as problem:
            raise unavailable(problem.message) from problem

    def _judge(self, status: int, models: object) -> None:
        if status in (401, 403) and not self._upstream.has_key:
            # It is alive, and its key is with the clients.
            return
        if status in (401, 403):
            raise unavailable(f"vLLM refuses the key in VLLM_API_KEY: /v1/models answers {status}")
        listed = models.get("data") if isinstance(models, dict) else None
        if status != 200 or not isinstance(listed, list):
            raise unavailable(f"vLLM is not ready: /v1/models answers {status}")
        names = [model.get("id") for model in listed if isinstance(model, dict)]
        if self._model and self._model not in names:
            raise unavailable(f"vLLM does not serve {self._model!r}, which LLM_MODEL_NAME names")

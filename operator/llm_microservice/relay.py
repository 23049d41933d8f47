"""From vLLM to a client: as it comes, no faster than the client reads, and no longer than it stays."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from time import monotonic
from typing import Any

import httpx
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from llm_microservice.answers import answer_to, refusal
from llm_microservice.events import Splitter, TooLongError
from llm_microservice.forms import Ask
from llm_microservice.metrics import REFUSED, Record
from llm_microservice.problems import CLIENT_LEFT, Problem, broken, encode, late, unavailable
from llm_microservice.room import Share
from llm_microservice.service import Service

LAST_WORDS_SECONDS = 1.0
"""Time for a client to take the event that says why its stream ends early."""
STREAM_HEADERS = {
    "content-type": "text/event-stream; charset=utf-8",
    "cache-control": "no-cache",
    # nginx, also as an ingress, holds a stream back without it.
    "x-accel-buffering": "no",
}


class Relay(Response):
    """The answer to one request: asked of vLLM when the server sends it."""

    def __init__(self, service: Service, ask: Ask, client: Mapping[str, str]):
        """`client` holds the client's headers. Raises ValueError if the request is none in JSON."""
        self.background = None
        self._service, self._client = service, client
        self._path, self._stream, self._form = ask.path, ask.stream, ask.form
        self._body = encode(ask.body)
        self._answer = answer_to(ask)
        self._complete = False
        self._send: Send
        self._record: Record
        self._share: Share

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, until there is no more, the client leaves, or the server has no more time."""
        self._send, self._record, self._share = send, scope["record"], scope["share"]
        self._record.form, self._record.stream = self._form, self._stream
        over = self._service.life.over
        tasks = [asyncio.ensure_future(each) for each in (self._tell(), _gone(receive), over.wait())]
        telling, gone, _ = tasks
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            # Only now the connection to vLLM is closed, by which vLLM knows that nobody listens.
            await asyncio.wait(tasks)
        if not telling.cancelled():
            telling.result()
        elif self._complete:
            # The server says too that a client is gone when all has been sent.
            return
        elif gone.cancelled():
            await self._fail(
                unavailable("this server is ending, and its time is over", close=True), "shutdown"
            )
        else:
            self._left()

    async def _tell(self) -> None:
        try:
            upstream, length = self._service.upstream, len(self._body)
            async with upstream.ask(self._path, self._spend(), length, self._client) as response:
                if response.status_code != 200:
                    body = await response.aread()
                    raise refusal(response.status_code, body, response.headers.get("retry-after"))
                if self._stream:
                    await self._pass_on(response)
                else:
                    body = self._answer.whole(await response.aread())
                    await self._reply(Response(body, media_type="application/json"))
        except Problem as problem:
            if problem.status >= 500:
                # The message may be vLLM's, and quote what it was asked.
                self._record.cause = repr(problem.__cause__) if problem.__cause__ else ""
                self._service.health.forget()
            await self._fail(problem, _reason(problem))

    async def _spend(self) -> AsyncIterator[bytes]:
        """The request's body, once: when it has been sent nobody holds it any more."""
        body, self._body = self._body, b""
        yield body
        if not self._answer.repeats:
            self._share.free()

    async def _pass_on(self, response: httpx.Response) -> None:
        if not response.headers.get("content-type", "").startswith("text/event-stream"):
            raise broken("vLLM was asked for a stream and sent none")
        splitter = Splitter()
        try:
            async for piece in response.aiter_raw():
                if told := self._answer.part(splitter.feed(piece)):
                    await self._put(told)
                if self._answer.failure:
                    raise self._answer.failure
                if self._answer.done:
                    return await self._put(b"", more=False)
        except TooLongError as error:
            raise broken(f"vLLM sent {error}") from error
        raise broken("vLLM broke off its answer")

    async def _put(self, told: bytes, *, more: bool = True) -> None:
        """Send a part of a stream. Waits while the client reads nothing, and nothing is read from vLLM."""
        try:
            async with asyncio.timeout(self._service.settings.read_timeout):
                if self._record.first is None:
                    self._record.first = monotonic() - self._record.began
                    await self._start()
                await self._send({"type": "http.response.body", "body": told, "more_body": more})
                self._complete = not more
        except TimeoutError as error:
            raise late("the client has read nothing for too long") from error

    async def _start(self) -> None:
        headers = [(name.encode(), value.encode()) for name, value in STREAM_HEADERS.items()]
        await self._send({"type": "http.response.start", "status": 200, "headers": headers})

    async def _reply(self, response: Response) -> None:
        await response({"type": "http"}, _nothing, self._send)
        self._complete = True

    async def _fail(self, problem: Problem, reason: str) -> None:
        if not self._record.code:
            await self._reply(problem.response)
            return
        self._record.failure = reason
        last = {"type": "http.response.body", "body": problem.event, "more_body": False}
        try:
            async with asyncio.timeout(LAST_WORDS_SECONDS):
                await self._send(last)
                self._complete = True
        except TimeoutError:
            # A client that reads nothing; the server closes the connection on it.
            pass

    def _left(self) -> None:
        if self._record.code:
            self._record.failure = "client"
        else:
            self._record.code = CLIENT_LEFT


def _reason(problem: Problem) -> str:
    """Why a stream that had begun ends with this."""
    if problem.status < 500:
        return REFUSED
    return "timeout" if problem.status == 504 else "upstream"


async def _gone(receive: Receive) -> None:
    """Return when the client has left."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def _nothing() -> Any:
    """What is never asked for."""
    raise RuntimeError

"""Before a request is read: is there room for it, is it small enough, and is anything taken at all?"""

import asyncio
import logging
from time import monotonic

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from llm_microservice.life import Life
from llm_microservice.metrics import REFUSED, Metrics, Record
from llm_microservice.problems import CLIENT_LEFT, Problem, unavailable
from llm_microservice.room import Room, Share
from llm_microservice.settings import Settings

BODY_SECONDS = 30.0
"""Time for a request's body to arrive; it holds one of the places meanwhile."""
log = logging.getLogger("llm_microservice")


class LeftError(Exception):
    """The client has gone before its request was whole."""


class Gate:
    """Lets requests with a body in, whole and one by one, and counts and logs them when they end."""

    def __init__(self, app: ASGIApp, settings: Settings, life: Life, metrics: Metrics):
        """Stand before this app."""
        self._app, self._settings, self._life, self._metrics = app, settings, life, metrics
        self._room = Room(settings.max_buffered_bytes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http" or scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        record = scope["record"] = Record()

        async def noting(message: Message) -> None:
            if message["type"] == "http.response.start" and not record.code:
                record.code = message["status"]
            await send(message)

        try:
            await self._admit(scope, receive, noting)
        except Problem as problem:
            await problem.response(scope, receive, noting)
        except LeftError:
            record.code = CLIENT_LEFT
        finally:
            # Without a status it ended in a fault of ours, which somebody further out answers.
            record.code = record.code or 500
            self._end(record)

    async def _admit(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._life.ending.is_set():
            raise unavailable("this server is ending; another one may answer", close=True)
        if self._life.running >= self._settings.max_concurrency:
            # Not 503, by which a load balancer would take a busy server for a broken one.
            message = f"{self._settings.max_concurrency} requests are being answered, which is the limit"
            raise Problem(429, "TooManyRequestsError", message, retry_after="1")
        self._life.enter()
        share = scope["share"] = Share(self._room)
        try:
            # No name for the body: it would be held until the answer has ended.
            await self._app(scope, _again(await self._body(scope, receive, share), receive), send)
        finally:
            share.free()
            self._life.leave()

    async def _body(self, scope: Scope, receive: Receive, share: Share) -> bytes:
        limit = self._settings.max_body_bytes
        too_large = Problem(413, "ContentTooLargeError", f"the request is larger than {limit} bytes")
        declared = dict(scope["headers"]).get(b"content-length", b"0")
        if int(declared) > limit:
            raise too_large
        body, more = bytearray(), True
        try:
            async with asyncio.timeout(BODY_SECONDS):
                while more:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise LeftError
                    piece = message.get("body", b"")
                    more = message.get("more_body", False)
                    if len(body) + len(piece) > limit:
                        raise too_large
                    share.take(len(piece))
                    body += piece
        except TimeoutError as error:
            message_ = f"the request was not whole within {BODY_SECONDS:.0f} s"
            raise Problem(408, "RequestTimeoutError", message_, close=True) from error
        return bytes(body)

    def _end(self, record: Record) -> None:
        self._metrics.ended(record)
        fields: dict[str, object] = {
            "form": record.form,
            "stream": record.stream,
            "code": record.code,
            "seconds": round(monotonic() - record.began, 3),
        }
        if record.first is not None:
            fields["first"] = round(record.first, 3)
        if record.failure:
            fields["failure"] = record.failure
        if record.cause:
            fields["cause"] = record.cause
        calm = record.code < 500 and record.failure in ("", REFUSED)
        level = logging.INFO if calm else logging.WARNING
        log.log(level, "request", extra={"fields": fields})


def _again(body: bytes, receive: Receive) -> Receive:
    """Receive a body that was read already, and then what else comes."""
    unread = [body]

    async def read() -> Message:
        if unread:
            return {"type": "http.request", "body": unread.pop(), "more_body": False}
        return await receive()

    return read

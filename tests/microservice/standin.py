"""An OpenAI-compatible server in vLLM's place: the words of vLLM 0.32, no model, and faults on demand.

What a request brings about is chosen by its field `standin`, which the microservice passes on like any field
that it does not know: `tokens` (how many), `size` (characters of one), `delay` (seconds before each),
`before` (seconds before the answer begins), `fault` (what happens after `after` tokens).
"""

import asyncio
import contextlib
import json
import ssl
import threading
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any, Self

from aiohttp import web

MODEL = "Intel/neural-chat-7b-v3-3"
DEEP = b"[" * 200_000
"""What nobody reads to its end."""
REFUSED = {
    "error": {
        "message": "allowed_token_ids is not None and empty! (parameter=allowed_token_ids, value=[])",
        "type": "BadRequestError",
        "param": "allowed_token_ids",
        "code": 400,
    }
}
"""In words of vLLM 0.32, which it has for a document as a status and for a stream as an event."""
TEXT = ["Deep", " learning", " isn't\n", ' "magic"', ".", " é", "\u2028"]
"""Tokens that a client must get back as they were: quotes, line ends, letters outside ASCII."""


@dataclass
class StandIn:
    """One such server on loopback, in a thread of its own; as a context manager it runs."""

    port: int = 0
    models: list[str] = field(default_factory=lambda: [MODEL])
    text: list[str] = field(default_factory=lambda: TEXT)
    """Tokens of its answers."""
    delay: float = 0
    """Seconds before each token, unless the request says another."""
    socket: str = ""
    """Path of a unix socket where it listens too, for whoever is in another network."""
    key: str = ""
    """The key that it asks for below /v1; empty for none."""
    health: int = 200
    """Status of /health."""
    slow: float = 0
    """Seconds before it answers at /health and /v1/models."""
    tls: ssl.SSLContext | None = None
    """The certificate that it shows; without one it speaks plain HTTP."""
    models_page: str = ""
    """What /v1/models says in place of the models."""
    running: int = 0
    """Requests that it is answering, as `vllm:num_requests_running` counts them."""
    seen: list[dict[str, Any]] = field(default_factory=list)
    """Bodies of requests, in the order in which they came."""
    headers: list[dict[str, str]] = field(default_factory=list)
    looks: int = 0
    """How often /v1/models was asked."""
    written: int = 0
    """Bytes of streams that were handed to the kernel, or nearly."""
    hold: threading.Event = field(default_factory=threading.Event)
    """Requests with the fault `hold` end when this is set."""

    def __enter__(self) -> Self:
        """Start it, at the port that it had before, if any."""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(30)
        return self

    def __exit__(self, *_: object) -> None:
        """Stop it at once, as a process that is killed: connections break."""
        asyncio.run_coroutine_threadsafe(self._runner.cleanup(), self._loop).result(30)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(30)
        self._loop.close()

    @property
    def url(self) -> str:
        """Where it is."""
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}"

    async def _start(self) -> None:
        app = web.Application(middlewares=[self._guard], client_max_size=64 * 1024**2)
        app.router.add_get("/health", self._health)
        app.router.add_get("/v1/models", self._list)
        app.router.add_post("/v1/chat/completions", self._chat)
        app.router.add_post("/v1/completions", self._complete)
        self._runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.01)
        await self._runner.setup()
        site = web.TCPSite(
            self._runner, "127.0.0.1", self.port, backlog=4096, reuse_address=True, ssl_context=self.tls
        )
        await site.start()
        self.port = self._runner.addresses[0][1]
        if self.socket:
            await web.UnixSite(self._runner, self.socket).start()

    @web.middleware
    async def _guard(self, request: web.Request, handler: Any) -> web.StreamResponse:
        given = request.headers.get("authorization")
        if self.key and request.path.startswith("/v1") and given != f"Bearer {self.key}":
            return web.json_response({"error": "Unauthorized"}, status=401)
        answer: web.StreamResponse = await handler(request)
        return answer

    async def _health(self, _: web.Request) -> web.Response:
        await asyncio.sleep(self.slow)
        return web.Response(status=self.health)

    async def _list(self, _: web.Request) -> web.Response:
        self.looks += 1
        await asyncio.sleep(self.slow)
        if self.models_page:
            return web.json_response(text=self.models_page)
        return web.json_response({"object": "list", "data": [{"id": model} for model in self.models]})

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        return await self._answer(request, "chat.completion")

    async def _complete(self, request: web.Request) -> web.StreamResponse:
        return await self._answer(request, "text_completion")

    async def _answer(self, request: web.Request, kind: str) -> web.StreamResponse:
        body = await request.json()
        self.seen.append(body)
        self.headers.append({name.lower(): value for name, value in request.headers.items()})
        if body.get("model", self.models[0]) not in self.models:
            message = f"The model `{body['model']}` does not exist. Valid aliases: {', '.join(self.models)}."
            return _refuse(404, "NotFoundError", message, "model")
        if body["max_tokens"] > 4096 if "max_tokens" in body else False:
            message = "This model's maximum context length is 4096 tokens."
            return _refuse(400, "BadRequestError", message, "max_tokens")
        self.running += 1
        try:
            return await self._play(request, body, kind)
        finally:
            self.running -= 1

    async def _play(self, request: web.Request, body: dict[str, Any], kind: str) -> web.StreamResponse:
        script = body.get("standin", {})
        await asyncio.sleep(script.get("before", 0))
        if isinstance(script.get("fault"), int):
            return _refuse(script["fault"], "SomeError", "it was asked for", None)
        if script.get("fault") == "redirect":
            return web.Response(status=307, headers={"Location": "/elsewhere"})
        if body.get("stream"):
            return await self._stream(request, body, kind)
        if script.get("fault") == "break":
            _abort(request)
        if script.get("fault") == "hold":
            await self._held()
        text = "".join([token async for token in self._tokens(body)])
        if script.get("fault") == "gibberish":
            return web.json_response({"choices": []})
        if script.get("fault") == "deep":
            return web.Response(body=DEEP, content_type="application/json")
        choice: dict[str, Any] = {"index": 0, "finish_reason": "length"}
        choice |= (
            {"text": text}
            if kind == "text_completion"
            else {"message": {"role": "assistant", "content": text}}
        )
        return web.json_response({"id": "cmpl-1", "object": kind, "model": MODEL, "choices": [choice]})

    async def _tokens(self, body: dict[str, Any]) -> AsyncIterator[str]:
        script = body.get("standin", {})
        for index in range(script.get("tokens", min(len(self.text), body.get("max_tokens", 16)))):
            await asyncio.sleep(script.get("delay", self.delay))
            yield "x" * script["size"] if "size" in script else self.text[index % len(self.text)]

    async def _stream(self, request: web.Request, body: dict[str, Any], kind: str) -> web.StreamResponse:
        script = body.get("standin", {})
        answer = web.StreamResponse(headers={"Content-Type": "text/event-stream; charset=utf-8"})
        if script.get("fault") == "no stream":
            return web.json_response({})
        answer.enable_chunked_encoding()
        await answer.prepare(request)
        if script.get("fault") == "refused at once":
            await self._fail(request, answer, "refused")
        if kind == "chat.completion":
            await self._write(answer, _chunk(kind, {"delta": {"role": "assistant", "content": ""}}))
        sent = 0
        async for token in self._tokens(body):
            if sent == script.get("after", 2) and script.get("fault") == "short":
                await answer.write_eof()
                return answer
            if "fault" in script and sent == script.get("after", 2):
                await self._fail(request, answer, script["fault"])
            part = {"text": token} if kind == "text_completion" else {"delta": {"content": token}}
            await self._write(answer, _chunk(kind, part))
            sent += 1
        await answer.write(b"data: [DONE]\n\n")
        await answer.write_eof()
        return answer

    async def _write(self, answer: web.StreamResponse, event: bytes) -> None:
        # In two pieces: a client may not count on whole events.
        half = len(event) // 2
        await answer.write(event[:half])
        await answer.write(event[half:])
        self.written += len(event)

    async def _fail(self, request: web.Request, answer: web.StreamResponse, fault: str) -> None:
        if fault == "break":
            await answer.write(b'data: {"choices": [{"del')
            _abort(request)
        elif fault == "error":
            # So does vLLM 0.32 when its engine fails, and goes on to say that it is done.
            await answer.write(b'data: {"error": {"message": "Internal server error", "code": 500}}\n\n')
        elif fault == "refused":
            # So does vLLM 0.32 with parameters that it checks when it begins to answer.
            await answer.write(b"data: " + json.dumps(REFUSED).encode() + b"\n\n")
        elif fault == "gibberish":
            await answer.write(b"data: {\n\n")
        elif fault == "deep":
            await answer.write(b'data: {"error": ' + DEEP + b"\n\n")
        elif fault == "endless":
            with contextlib.suppress(ConnectionError):
                while True:
                    await answer.write(b"data: " + b"x" * 65536)
        elif fault == "silence":
            await asyncio.sleep(600)
        elif fault == "hold":
            await self._held()

    async def _held(self) -> None:
        while not self.hold.is_set():
            await asyncio.sleep(0.01)


def _chunk(kind: str, part: dict[str, Any]) -> bytes:
    choice = {"index": 0, "finish_reason": None} | part
    chunk = {"id": "cmpl-1", "object": f"{kind}.chunk", "model": MODEL, "choices": [choice]}
    return b"data: " + json.dumps(chunk).encode() + b"\n\n"


def _refuse(status: int, kind: str, message: str, param: str | None) -> web.Response:
    error = {"message": message, "type": kind, "param": param, "code": status}
    return web.json_response({"error": error}, status=status)


def _abort(request: web.Request) -> None:
    assert request.transport is not None
    request.transport.abort()
    raise ConnectionResetError

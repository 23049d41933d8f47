"""Asks servers as a client would, through their Services: for their models, and for one token.

The one door to httpx. Nothing of the environment decides the way: no proxy, no .netrc; no redirect is
followed, no cookie kept, and of an answer no more is read than a list of models can be. What a server says
is anybody's words: none of it is repeated but the names of its models, and those in part.
"""

import asyncio
import errno
import json
import logging
import random
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.cookiejar import CookieJar, DefaultCookiePolicy

import httpx

from vllm_operator.api.observed import Answer, Question
from vllm_operator.api.reasons import Reason
from vllm_operator.controller.store import Key

ROUND_SECONDS = 600.0
"""Seconds from one time that a server is asked to the next."""
ATTEMPTS = 3
"""Failures in a row before one is told: a Service learns of its pods later than the API server."""
PAUSE_SECONDS = 2.0
"""Seconds from a failure that is not told to the next attempt; what is told doubles it, up to a round."""
AT_ONCE = 8
"""Servers that are asked at the same time."""
CONNECT_SECONDS = 5.0
ANSWER_SECONDS = 30.0
"""Time limit of an answer: a busy server lets a request wait for its turn."""
MAX_BYTES = 1 << 20
"""Most that is read of an answer."""
LEAST_BYTES = 256
"""What a piece of an answer counts at the least: many small ones would cost the operator minutes."""

_TOKEN = b'"choices"'
_HEADERS = {"Accept-Encoding": "identity"}

_KEEPS_OUT = frozenset({errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EACCES, errno.EPERM, errno.ETIMEDOUT})
_GOOD = frozenset({Reason.ANSWERS, Reason.KEY_REQUIRED})

log = logging.getLogger(__name__)


class _AnsweredError(Exception):
    """What came of a question, before its end."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.answer = Answer(reason, detail)


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
        self._enabled = enabled
        self._proxy = proxy
        self._client: httpx.AsyncClient | None = None
        self._asked: dict[Key, _Asked] = {}
        self._turn = asyncio.Semaphore(AT_ONCE)

    def look(self, key: Key, question: Question | None) -> Answer | None:
        """What came of a question, if anything has yet; from now on it is asked again and again."""
        asked = self._asked.get(key)
        if question is None or not self._enabled:
            self.forget(key)
            return None
        if asked is None or asked.question != question:
            self.forget(key)
            asked = self._asked[key] = _Asked(question)
            asked.task = asyncio.create_task(self._go_on(key, asked))
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

    async def _go_on(self, key: Key, asked: _Asked) -> None:
        # Not before it is of use: to read the certificates of a proxy costs time and memory.
        self._client = self._client or client(self._proxy)
        while True:
            async with self._turn:
                answer = await ask(self._client, asked.question)
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


def client(proxy: str | None = None) -> httpx.AsyncClient:
    """What servers are asked with."""
    timeout = httpx.Timeout(ANSWER_SECONDS, connect=CONNECT_SECONDS)
    # Kept, they would grow with each answer, and be shown to other servers.
    no_cookies = CookieJar(DefaultCookiePolicy(allowed_domains=()))
    return httpx.AsyncClient(
        trust_env=False, proxy=proxy, timeout=timeout, headers=_HEADERS, cookies=no_cookies
    )


async def ask(asking: httpx.AsyncClient, question: Question) -> Answer:
    """Ask a server for its models and one token. Never raises."""
    try:
        async with asyncio.timeout(CONNECT_SECONDS + 2 * ANSWER_SECONDS):
            with _faults(question.url):
                await _models(asking, question)
                return await _token(asking, question)
    except _AnsweredError as answered:
        return answered.answer
    except TimeoutError:
        return Answer(Reason.NOT_ANSWERING, f"{question.url} sent its answer too slowly")
    except Exception:
        log.exception("asking %s went wrong", question.url)
        return Answer(Reason.NOT_ANSWERING, f"{question.url} could not be asked: see the operator's log")


async def _models(asking: httpx.AsyncClient, question: Question) -> None:
    async with asking.stream("GET", f"{question.url}/v1/models") as response:
        _check(response, question.url, "/v1/models")
        body = b"".join([chunk async for chunk in _read(response)])
    names = _names(body)
    if question.model not in names:
        shown = ", ".join(_printable(name[:100]) for name in names[:5]) or "none"
        detail = f"{question.url}/v1/models does not list {question.model}, but: {shown}"
        raise _AnsweredError(Reason.MODEL_NOT_SERVED, detail)


def _names(body: bytes) -> list[str]:
    try:
        return [str(model["id"]) for model in json.loads(body)["data"]]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        detail = "/v1/models answers with something else than a list of models"
        raise _AnsweredError(Reason.NOT_ANSWERING, detail) from error


def _printable(text: str) -> str:
    """Without what an API server would change, or a terminal obey."""
    return "".join(character if character.isprintable() else "?" for character in text)


async def _token(asking: httpx.AsyncClient, question: Question) -> Answer:
    asked = {"model": question.model, "prompt": "Hello", "max_tokens": 1, "stream": True}
    listed = f"{question.url}/v1 lists {question.model}"
    start, end = time.monotonic(), b""
    async with asking.stream("POST", f"{question.url}/v1/completions", json=asked) as response:
        # The model is there, so this is the path: a model that embeds or ranks has no completions.
        if response.status_code in (400, 404, 405, 501):
            return Answer(Reason.ANSWERS, f"{listed}; it takes no completions ({response.status_code})")
        _check(response, question.url, "/v1/completions")
        async for chunk in _read(response):
            # No more than may be the beginning of the word: what is read once is not searched again.
            end = end[1 - len(_TOKEN) :] + chunk
            if _TOKEN in end:
                return Answer(Reason.ANSWERS, f"{listed}, first token after {time.monotonic() - start:.2f} s")
    raise _AnsweredError(Reason.NOT_ANSWERING, f"{question.url}/v1/completions has ended without a token")


async def _read(response: httpx.Response) -> AsyncIterator[bytes]:
    """The body as it comes: what is packed may be of any size, and is not asked for."""
    read = 0
    async for chunk in response.aiter_raw():
        read += max(len(chunk), LEAST_BYTES)
        if read > MAX_BYTES:
            detail = f"{response.url.path} answers with more than {MAX_BYTES} bytes, or in too small pieces"
            raise _AnsweredError(Reason.NOT_ANSWERING, detail)
        yield chunk


def _check(response: httpx.Response, url: str, path: str) -> None:
    status = response.status_code
    if status == httpx.codes.UNAUTHORIZED:
        detail = f"Alive: {path} asks for an API key ({status}), and the operator reads no Secrets"
        raise _AnsweredError(Reason.KEY_REQUIRED, detail)
    # vLLM itself lets in or says 401.
    if status in (403, 407):
        detail = (
            f"{url}{path} answers with {status}, as a proxy or a service mesh does that lets nobody through"
        )
        raise _AnsweredError(Reason.UNREACHABLE, detail)
    if status != httpx.codes.OK:
        raise _AnsweredError(Reason.NOT_ANSWERING, f"{url}{path} answers with {status}")


@contextmanager
def _faults(url: str) -> Iterator[None]:
    """Tell a closed way from a server that does not answer."""
    try:
        yield
    except (httpx.ConnectTimeout, httpx.ProxyError) as error:
        what = (
            "timed out" if isinstance(error, httpx.ConnectTimeout) else f"is refused by the proxy ({error})"
        )
        raise _AnsweredError(Reason.UNREACHABLE, f"The connection to {url} {what}") from error
    except httpx.ConnectError as error:
        if _kept_out(error):
            raise _AnsweredError(Reason.UNREACHABLE, f"No connection to {url} ({error})") from error
        raise _AnsweredError(Reason.NOT_ANSWERING, f"{url} takes no connection ({error})") from error
    except httpx.TimeoutException as error:
        detail = f"{url} takes connections and has not answered for {ANSWER_SECONDS:.0f} s"
        raise _AnsweredError(Reason.NOT_ANSWERING, detail) from error
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        detail = f"{url} broke off its answer, or speaks no HTTP ({type(error).__name__})"
        raise _AnsweredError(Reason.NOT_ANSWERING, detail) from error


def _kept_out(error: BaseException | None) -> bool:
    """Whether a name does not resolve, or a network is closed: nothing that the server has done."""
    if isinstance(error, BaseExceptionGroup):
        # One for each address of the name.
        return all(map(_kept_out, error.exceptions))
    if isinstance(error, socket.gaierror) or (isinstance(error, OSError) and error.errno in _KEEPS_OUT):
        return True
    return error is not None and _kept_out(error.__cause__ or error.__context__)

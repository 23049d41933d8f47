"""Asks a server as a client would, through its Service: for its models, and for one token.

The one door to httpx. Nothing of the environment decides the way: no proxy, no .netrc; no redirect is
followed, no cookie kept, and of an answer no more is read than a list of models can be. What a server says
is anybody's words: none of it is repeated but the names of its models, and those in part.
"""

import asyncio
import errno
import json
import logging
import socket
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from http.cookiejar import CookieJar, DefaultCookiePolicy

import httpx

from vllm_operator.api.reasons import Reason
from vllm_operator.api.seen import Answer, Question

CONNECT_SECONDS = 5.0
ANSWER_SECONDS = 30.0
"""Time limit of an answer: a busy server lets a request wait for its turn."""
MAX_BYTES = 1 << 20
"""Most that is read of a list of models."""
MAX_TOKEN_BYTES = 1 << 16
"""Most that is read of a stream until there is a token."""
LEAST_BYTES = 256
"""What a piece of an answer counts at the least: many small ones would cost the operator minutes."""

Client = httpx.AsyncClient

_HEADERS = {"Accept-Encoding": "identity"}

_KEEPS_OUT = frozenset({errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EACCES, errno.EPERM, errno.ETIMEDOUT})

_BETWEEN = frozenset({403, 407})
"""vLLM asks for a key by 401: these are the words of a proxy or a mesh."""
_OF_PROXIES = frozenset({502, 503, 504})

log = logging.getLogger(__name__)
# A line for each request.
logging.getLogger("httpx").setLevel(logging.WARNING)


class _AnsweredError(Exception):
    """What came of a question, before its end."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.answer = Answer(reason, detail)


def client(proxy: str | None = None) -> Client:
    """What servers are asked with."""
    timeout = httpx.Timeout(ANSWER_SECONDS, connect=CONNECT_SECONDS)
    # Kept, they would grow with each answer, and be shown to other servers.
    no_cookies = CookieJar(DefaultCookiePolicy(allowed_domains=()))
    # Servers are asked by http. To read certificates takes a megabyte and a half, for a proxy that has one.
    encrypted = bool(proxy and proxy.startswith("https:"))
    return httpx.AsyncClient(
        trust_env=False,
        proxy=proxy,
        timeout=timeout,
        headers=_HEADERS,
        cookies=no_cookies,
        verify=encrypted,
    )


async def ask(asking: Client, question: Question, *, proxied: bool = False) -> Answer:
    """Ask a server for its models and one token. Never raises.

    With `proxied` an answer may be that of a proxy.
    """
    try:
        async with asyncio.timeout(ANSWER_SECONDS + 2 * CONNECT_SECONDS):
            with _faults(question.url):
                await _models(asking, question, proxied)
                return await _token(asking, question, proxied)
    except _AnsweredError as answered:
        return answered.answer
    except TimeoutError:
        return Answer(Reason.NOT_ANSWERING, f"{question.url}/v1 sends its answers too slowly")
    except Exception:
        log.exception("asking %s went wrong", question.url)
        return Answer(Reason.NOT_ANSWERING, f"{question.url}/v1 could not be asked: see the operator's log")


async def _models(asking: Client, question: Question, proxied: bool) -> None:
    url = f"{question.url}/v1/models"
    async with asking.stream("GET", url) as response:
        _check(response, url, proxied)
        names = _names(url, b"".join([chunk async for chunk in _read(response, url, MAX_BYTES)]))
    if question.model not in names:
        shown = ", ".join(_printable(name[:100]) for name in names[:5]) or "none"
        raise _AnsweredError(Reason.MODEL_NOT_SERVED, f"{url} does not list {question.model}, but: {shown}")


def _names(url: str, body: bytes) -> list[str]:
    try:
        return [str(model["id"]) for model in json.loads(body)["data"]]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        detail = f"{url} answers with something else than a list of models"
        raise _AnsweredError(Reason.NOT_ANSWERING, detail) from error


def _printable(text: str) -> str:
    """A server's words as a status may hold them: half a surrogate pair, say, may not be stored."""
    return "".join(character if character.isprintable() else "?" for character in text)


async def _token(asking: Client, question: Question, proxied: bool) -> Answer:
    url, sought = f"{question.url}/v1/completions", b'"choices"'
    asked = {"model": question.model, "prompt": "Hello", "max_tokens": 1, "stream": True}
    listed = f"{question.url}/v1 lists {question.model}"
    start, end = time.monotonic(), b""
    async with asking.stream("POST", url, json=asked) as response:
        # The model is there, so this is the path: a model that embeds or ranks has no completions.
        if response.status_code in (400, 404, 405, 501):
            return Answer(Reason.ANSWERS, f"{listed}; it takes no completions ({response.status_code})")
        _check(response, url, proxied)
        async for chunk in _read(response, url, MAX_TOKEN_BYTES):
            if sought in end + chunk:
                return Answer(Reason.ANSWERS, f"{listed}, first token after {time.monotonic() - start:.2f} s")
            end = (end + chunk)[1 - len(sought) :]
    raise _AnsweredError(Reason.NOT_ANSWERING, f"{url} has ended without a token")


async def _read(response: httpx.Response, url: str, most: int) -> AsyncIterator[bytes]:
    """The body as it comes: what is packed may be of any size, and is not asked for."""
    read = 0
    async for chunk in response.aiter_raw():
        read += max(len(chunk), LEAST_BYTES)
        if read > most:
            detail = f"{url} answers with more than {most} bytes, or in too small pieces"
            raise _AnsweredError(Reason.NOT_ANSWERING, detail)
        yield chunk


def _check(response: httpx.Response, url: str, proxied: bool) -> None:
    status = response.status_code
    if status == httpx.codes.UNAUTHORIZED:
        detail = f"Alive: {url} asks for an API key (401), and the operator reads no Secrets"
        raise _AnsweredError(Reason.KEY_REQUIRED, detail)
    if status in _BETWEEN or (proxied and status in _OF_PROXIES):
        raise _AnsweredError(
            Reason.UNREACHABLE, f"{url} answers with {status}, by something before the server"
        )
    if status != httpx.codes.OK:
        raise _AnsweredError(Reason.NOT_ANSWERING, f"{url} answers with {status}")


@contextmanager
def _faults(url: str) -> Iterator[None]:
    """Tell a closed way from a server that does not answer."""
    try:
        yield
    except (httpx.ConnectTimeout, httpx.ProxyError) as error:
        what = (
            "timed out" if isinstance(error, httpx.ConnectTimeout) else f"is refused by the proxy ({error})"
        )
        raise _AnsweredError(Reason.UNREACHABLE, f"The connection to {url}/v1 {what}") from error
    except httpx.ConnectError as error:
        if _kept_out(error):
            raise _AnsweredError(Reason.UNREACHABLE, f"No connection to {url}/v1 ({error})") from error
        raise _AnsweredError(Reason.NOT_ANSWERING, f"{url}/v1 takes no connection ({error})") from error
    except httpx.TimeoutException as error:
        detail = f"{url}/v1 takes connections and has not answered for {ANSWER_SECONDS:.0f} s"
        raise _AnsweredError(Reason.NOT_ANSWERING, detail) from error
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        detail = f"{url}/v1 broke off its answer, or speaks no HTTP ({type(error).__name__})"
        raise _AnsweredError(Reason.NOT_ANSWERING, detail) from error


def _kept_out(error: BaseException | None) -> bool:
    """Whether a name does not resolve, or a network is closed: nothing that the server has done."""
    if isinstance(error, BaseExceptionGroup):
        # One for each address of the name.
        return all(map(_kept_out, error.exceptions))
    if isinstance(error, socket.gaierror) or (isinstance(error, OSError) and error.errno in _KEEPS_OUT):
        return True
    return error is not None and _kept_out(error.__cause__ or error.__context__)

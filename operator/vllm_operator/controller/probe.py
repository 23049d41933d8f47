"""Asks a server as a client would, through its Service: for its models, and for one token.

The one door to httpx. Nothing of the environment decides the way: no proxy, no .netrc; no redirect is
followed, and of an answer no more is read than a list of models can be. What a server says is anybody's
words: none of it is repeated but the names of its models, and those in part.
"""

import asyncio
import errno
import json
import logging
import socket
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

import httpx

from vllm_operator.api.reasons import Reason
from vllm_operator.api.seen import Answer, Question

CONNECT_SECONDS = 5.0
ANSWER_SECONDS = 30.0
"""Time limit of an answer: a busy server lets a request wait for its turn."""
MAX_BYTES = 1 << 20
"""Most that is read of an answer."""

Client = httpx.AsyncClient

_HEADERS = {"Accept-Encoding": "identity"}

_KEEPS_OUT = frozenset({errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EACCES, errno.EPERM, errno.ETIMEDOUT})

log = logging.getLogger(__name__)


class _AnsweredError(Exception):
    """What came of a question, before its end."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.answer = Answer(reason, detail)


def client(proxy: str | None = None) -> Client:
    """What servers are asked with."""
    timeout = httpx.Timeout(ANSWER_SECONDS, connect=CONNECT_SECONDS)
    # Servers are asked by http. To read certificates takes a megabyte and a half, for a proxy that has one.
    encrypted = bool(proxy and proxy.startswith("https:"))
    return httpx.AsyncClient(
        trust_env=False, proxy=proxy, timeout=timeout, headers=_HEADERS, verify=encrypted
    )


async def ask(asking: Client, question: Question) -> Answer:
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


async def _models(asking: Client, question: Question) -> None:
    async with asking.stream("GET", f"{question.url}/v1/models") as response:
        _check(response, "/v1/models")
        body = b"".join([chunk async for chunk in _read(response)])
    names = _names(body)
    if question.model not in names:
        shown = ", ".join(name[:100] for name in names[:5]) or "none"
        detail = f"{question.url}/v1/models does not list {question.model}, but: {shown}"
        raise _AnsweredError(Reason.MODEL_NOT_SERVED, detail)


def _names(body: bytes) -> list[str]:
    try:
        return [str(model["id"]) for model in json.loads(body)["data"]]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        detail = "/v1/models answers with something else than a list of models"
        raise _AnsweredError(Reason.NOT_ANSWERING, detail) from error


async def _token(asking: Client, question: Question) -> Answer:
    asked = {"model": question.model, "prompt": "Hello", "max_tokens": 1, "stream": True}
    listed = f"{question.url}/v1 lists {question.model}"
    start, found = time.monotonic(), b""
    async with asking.stream("POST", f"{question.url}/v1/completions", json=asked) as response:
        # The model is there, so this is the path: a model that embeds or ranks has no completions.
        if response.status_code in (400, 404, 405, 501):
            return Answer(Reason.ANSWERS, f"{listed}; it has no completions ({response.status_code})")
        _check(response, "/v1/completions")
        async for chunk in _read(response):
            found += chunk
            if b'"choices"' in found:
                return Answer(Reason.ANSWERS, f"{listed}, first token after {time.monotonic() - start:.2f} s")
    raise _AnsweredError(Reason.NOT_ANSWERING, f"{question.url}/v1/completions has ended without a token")


async def _read(response: httpx.Response) -> AsyncIterator[bytes]:
    """The body as it comes: what is packed may be of any size, and is not asked for."""
    read = 0
    async for chunk in response.aiter_raw():
        read += len(chunk)
        if read > MAX_BYTES:
            detail = f"{response.url.path} answers with more than {MAX_BYTES} bytes"
            raise _AnsweredError(Reason.NOT_ANSWERING, detail)
        yield chunk


def _check(response: httpx.Response, path: str) -> None:
    if response.status_code in (401, 403):
        detail = (
            f"Alive: {path} asks for an API key ({response.status_code}), and the operator reads no Secrets"
        )
        raise _AnsweredError(Reason.KEY_REQUIRED, detail)
    if response.status_code != httpx.codes.OK:
        raise _AnsweredError(Reason.NOT_ANSWERING, f"{path} answers with {response.status_code}")


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
        detail = f"{url} broke off its answer ({type(error).__name__})"
        raise _AnsweredError(Reason.NOT_ANSWERING, detail) from error


def _kept_out(error: BaseException) -> bool:
    """Whether a name does not resolve, or a network is closed: nothing that the server has done."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, socket.gaierror) or (isinstance(cause, OSError) and cause.errno in _KEEPS_OUT):
            return True
        cause = cause.__cause__ or cause.__context__
    return False

"""Asking a server as a client would: what comes of every way that it can go, on real sockets of loopback."""

import asyncio
import contextlib
import errno
import random
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from tests.harness.answering import Answering
from vllm_operator.api.seen import Answer, Question
from vllm_operator.controller import probe, prober
from vllm_operator.controller.probe import MAX_BYTES, MAX_TOKEN_BYTES, ask
from vllm_operator.controller.prober import ATTEMPTS, Prober
from vllm_operator.controller.store import Key

KEY = Key("VLLMServer", "ns", "chat")


@pytest.fixture
def server() -> Iterator[Answering]:
    with Answering("org/model") as answering:
        yield answering


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with probe.client() as asking:
        yield asking


def question(server: Answering, model: str = "org/model", record: str = "r1") -> Question:
    return Question(server.url, model, record)


async def test_a_server_is_asked_for_its_models_and_one_token(
    server: Answering, client: httpx.AsyncClient
) -> None:
    answer = await ask(client, question(server))
    assert answer.reason == "Answers"
    assert answer.detail.startswith(f"{server.url}/v1 lists org/model, first token after 0.")
    (_, models, _), (method, path, body) = server.asked
    assert (models, method, path) == ("/v1/models", "POST", "/v1/completions")
    assert (body["model"], body["max_tokens"], body["stream"]) == ("org/model", 1, True)


@pytest.mark.parametrize(
    ("change", "reason", "words"),
    [
        ({"models": {"data": [{"id": "other"}]}}, "ModelNotServed", "does not list org/model, but: other"),
        ({"models": {"data": []}}, "ModelNotServed", "but: none"),
        ({"models": b"<html>"}, "NotAnswering", "something else than a list"),
        ({"models": b"[" * 100_000}, "NotAnswering", "something else than a list"),
        ({"models": {"data": 5}}, "NotAnswering", "something else than a list"),
        ({"models": b" " * (MAX_BYTES + 1)}, "NotAnswering", f"more than {MAX_BYTES} bytes"),
        ({"models": {"data": [{"id": "\x1b[31m\ud800\n\u00e9"}]}}, "ModelNotServed", "but: ?[31m??\u00e9"),
        ({"token": b"x" * (MAX_TOKEN_BYTES + 1)}, "NotAnswering", f"more than {MAX_TOKEN_BYTES} bytes"),
        ({"token": b"data: [DONE]\n\n"}, "NotAnswering", "without a token"),
        ({"token": b'data: {"error": {"code": 500}}\n\n'}, "NotAnswering", "without a token"),
    ],
)
async def test_what_is_answered_decides(
    server: Answering, client: httpx.AsyncClient, change: dict[str, Any], reason: str, words: str
) -> None:
    for name, value in change.items():
        setattr(server, name, value)
    answer = await ask(client, question(server))
    assert answer.reason == reason
    assert words in answer.detail


@pytest.mark.parametrize(
    ("path", "status", "reason"),
    [
        ("models", 401, "KeyRequired"),
        ("models", 403, "Unreachable"),
        ("models", 407, "Unreachable"),
        ("models", 404, "NotAnswering"),
        ("models", 500, "NotAnswering"),
        ("models", 307, "NotAnswering"),
        ("completions", 401, "KeyRequired"),
        ("completions", 500, "NotAnswering"),
        ("completions", 503, "NotAnswering"),
        ("completions", 404, "Answers"),
        ("completions", 400, "Answers"),
    ],
)
async def test_every_status_means_something(
    server: Answering, client: httpx.AsyncClient, path: str, status: int, reason: str
) -> None:
    server.status[f"/v1/{path}"] = status
    answer = await ask(client, question(server))
    assert answer.reason == reason
    assert str(status) in answer.detail


@pytest.mark.parametrize("status", [502, 503, 504])
async def test_a_proxy_that_cannot_go_on_says_nothing_of_the_server(
    server: Answering, client: httpx.AsyncClient, status: int
) -> None:
    server.status["/v1/models"] = status
    assert (await ask(client, question(server), proxied=True)).reason == "Unreachable"
    assert (await ask(client, question(server))).reason == "NotAnswering"


async def test_no_redirect_is_followed(server: Answering, client: httpx.AsyncClient) -> None:
    with Answering("org/model") as elsewhere:
        server.status["/v1/models"] = 302
        server.headers["Location"] = f"{elsewhere.url}/v1/models"
        assert (await ask(client, question(server))).reason == "NotAnswering"
        assert elsewhere.asked == []


async def test_no_cookie_is_kept(server: Answering, client: httpx.AsyncClient) -> None:
    server.headers["Set-Cookie"] = "it=me"
    assert (await ask(client, question(server))).reason == "Answers"
    assert not list(client.cookies.jar)


@asynccontextmanager
async def speaking(*answers: bytes) -> AsyncIterator[Question]:
    """A server that says these bytes, one answer for each request, and then closes."""

    async def say(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            for answer in answers:
                await reader.readuntil(b"\r\n\r\n")
                writer.write(answer)
                await writer.drain()
        writer.close()

    async with await asyncio.start_server(say, "127.0.0.1", 0) as server:
        yield Question(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", "m", "r")


LISTED = b'HTTP/1.1 200 OK\r\nContent-Length: 21\r\n\r\n{"data":[{"id":"m"}]}'
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("answers", "reason", "words"),
    [
        ((LISTED, CHUNKED + b'8\r\n{"choice\r\n4\r\ns":1\r\n0\r\n\r\n'), "Answers", "first token"),
        ((LISTED, CHUNKED + b"1\r\nx\r\n" * 5000 + b"0\r\n\r\n"), "NotAnswering", "in too small pieces"),
        ((CHUNKED + b"1\r\n \r\n" * 5000 + b"0\r\n\r\n",), "NotAnswering", "in too small pieces"),
        ((LISTED, b"HTTP/1.1 200 OK\r\n"), "NotAnswering", "broke off its answer"),
        ((b"\x16\x03\x01 not http\r\n\r\n",), "NotAnswering", "speaks no HTTP"),
    ],
)
async def test_how_it_is_said_decides_too(
    client: httpx.AsyncClient, answers: tuple[bytes, ...], reason: str, words: str
) -> None:
    async with speaking(*answers) as asked:
        answer = await ask(client, asked)
    assert answer.reason == reason
    assert words in answer.detail
    assert "not http" not in answer.detail


@pytest.mark.parametrize(
    ("numbers", "reason"),
    [
        ((errno.EHOSTUNREACH, errno.ENETUNREACH), "Unreachable"),
        ((errno.ECONNREFUSED, errno.ENETUNREACH), "NotAnswering"),
    ],
)
async def test_a_name_with_two_addresses_has_two_ways(numbers: tuple[int, ...], reason: str) -> None:
    """anyio tells of both in one group, below an error without a number."""

    def fail(request: httpx.Request) -> httpx.Response:
        group = ExceptionGroup("two", [OSError(number, "x") for number in numbers])
        above = OSError("All connection attempts failed")
        above.__cause__ = group
        raise httpx.ConnectError("failed", request=request) from above

    async with httpx.AsyncClient(transport=httpx.MockTransport(fail)) as asking:
        assert (await ask(asking, Question("http://chat.ns.svc:8008", "m", "r"))).reason == reason


async def test_what_is_said_of_models_is_short(server: Answering, client: httpx.AsyncClient) -> None:
    server.models = {"data": [{"id": "m" * 5000} for _ in range(100)]}
    assert len((await ask(client, question(server))).detail) < 1000


async def test_a_server_that_refuses_connections_does_not_answer(client: httpx.AsyncClient) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        answer = await ask(client, Question(f"http://127.0.0.1:{closed.getsockname()[1]}", "m", "r"))
    assert answer.reason == "NotAnswering"
    assert "takes no connection" in answer.detail


async def test_a_way_that_swallows_connections_is_told_apart(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a NetworkPolicy does: the backlog is full, and the kernel drops what comes."""
    client.timeout = httpx.Timeout(5, connect=0.2)
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        others = [socket.socket() for _ in range(4)]
        for other in others:
            other.setblocking(False)
            other.connect_ex(full.getsockname())
        await asyncio.sleep(0.05)
        answer = await ask(client, Question(f"http://127.0.0.1:{full.getsockname()[1]}", "m", "r"))
        for other in others:
            other.close()
    assert answer.reason == "Unreachable"
    assert "timed out" in answer.detail


async def test_a_name_that_does_not_resolve_is_no_fault_of_the_server(client: httpx.AsyncClient) -> None:
    answer = await ask(client, Question("http://chat.ns.svc.invalid:8008", "m", "r"))
    assert answer.reason == "Unreachable"


async def test_a_server_that_hangs_does_not_answer(client: httpx.AsyncClient) -> None:
    client.timeout = httpx.Timeout(0.2)
    with socket.create_server(("127.0.0.1", 0)) as hanging:
        answer = await ask(client, Question(f"http://127.0.0.1:{hanging.getsockname()[1]}", "m", "r"))
    assert answer.reason == "NotAnswering"
    assert "takes connections and has not answered" in answer.detail


async def test_proxies_of_the_environment_are_not_asked(
    server: Answering, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Answering("org/model") as surroundings:
        monkeypatch.setenv("HTTP_PROXY", surroundings.url)
        monkeypatch.setenv("http_proxy", surroundings.url)
        async with probe.client() as asking:
            assert (await ask(asking, question(server))).reason == "Answers"
        assert surroundings.asked == []


async def test_a_proxy_that_is_set_is_asked_for_the_whole_address(server: Answering) -> None:
    async with probe.client(server.url) as asking:
        answer = await ask(asking, Question("http://chat.ns.svc:8008", "org/model", "r"))
    assert answer.reason == "Answers"
    assert [path for _, path, _ in server.asked] == [
        "http://chat.ns.svc:8008/v1/models",
        "http://chat.ns.svc:8008/v1/completions",
    ]


class Woken:
    """Counts who was woken, and lets a test wait for it."""

    def __init__(self) -> None:
        self.keys: asyncio.Queue[Key] = asyncio.Queue()

    def __call__(self, key: Key) -> None:
        self.keys.put_nowait(key)

    async def wait(self) -> None:
        async with asyncio.timeout(20):
            assert await self.keys.get() == KEY


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prober, "ROUND_SECONDS", 0.05)
    monkeypatch.setattr(prober, "PAUSE_SECONDS", 0.01)


async def asked_times(server: Answering, number: int) -> None:
    async with asyncio.timeout(20):
        while len(server.asked) < number:
            await asyncio.sleep(0.01)


@pytest.mark.usefixtures("quick")
async def test_an_answer_wakes_a_server_once_while_it_stays_the_same(server: Answering) -> None:
    woken = Woken()
    asking = Prober(woken)
    assert asking.look(KEY, question(server)) is None
    await woken.wait()
    first = asking.look(KEY, question(server))
    assert isinstance(first, Answer)
    assert first.reason == "Answers"
    await asked_times(server, 8)
    assert woken.keys.empty()
    server.status["/v1/models"] = 500
    await woken.wait()
    failed = asking.look(KEY, question(server))
    assert failed is not None
    assert failed.reason == "NotAnswering"
    server.status["/v1/models"] = 200
    await woken.wait()
    await asking.close()


@pytest.mark.usefixtures("quick")
async def test_a_failure_is_told_when_it_has_come_again(server: Answering) -> None:
    woken = Woken()
    asking = Prober(woken)
    server.status["/v1/models"] = 503
    asking.look(KEY, question(server))
    await asked_times(server, ATTEMPTS - 1)
    assert asking.look(KEY, question(server)) is None
    await woken.wait()
    assert len(server.asked) >= ATTEMPTS
    await asking.close()


@pytest.mark.usefixtures("quick")
async def test_another_revision_is_asked_anew(server: Answering) -> None:
    woken = Woken()
    asking = Prober(woken)
    asking.look(KEY, question(server))
    await woken.wait()
    assert asking.look(KEY, question(server, record="r2")) is None
    await woken.wait()
    assert asking.look(KEY, question(server, record="r2")) is not None
    await asking.close()


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("how", ["forgotten", "nothing to ask", "closed"])
async def test_who_is_forgotten_is_not_asked_again(server: Answering, how: str) -> None:
    woken = Woken()
    asking = Prober(woken)
    asking.look(KEY, question(server))
    await woken.wait()
    if how == "forgotten":
        asking.forget(KEY)
    elif how == "nothing to ask":
        assert asking.look(KEY, None) is None
    else:
        await asking.close()
    await asyncio.sleep(0.1)
    before = len(server.asked)
    await asyncio.sleep(0.3)
    assert len(server.asked) == before
    await asking.close()


async def test_when_it_is_switched_off_nobody_is_asked(server: Answering) -> None:
    asking = Prober(Woken(), enabled=False)
    assert asking.look(KEY, question(server)) is None
    await asyncio.sleep(0.1)
    assert server.asked == []
    await asking.close()


async def test_after_a_start_what_is_known_is_not_asked_at_once(
    server: Answering, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(random, "uniform", lambda least, most: most if most > 1000 else 1.0)
    asking = Prober(Woken())
    asking.look(KEY, question(server), known=True)
    await asyncio.sleep(0.1)
    assert server.asked == []
    # Another revision is.
    asking.look(KEY, question(server, record="r2"), known=True)
    await asked_times(server, 2)
    await asking.close()

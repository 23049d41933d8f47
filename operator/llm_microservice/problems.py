"""What can go wrong with a request, and how a client is told."""

import json
from collections.abc import Mapping
from typing import Any

from starlette.responses import Response

CLIENT_LEFT = 499
"""Stands in metrics and logs for a client that did not wait for its answer; nobody is sent it."""
KINDS = {
    401: "AuthenticationError",
    403: "PermissionDeniedError",
    404: "NotFoundError",
    413: "ContentTooLargeError",
    429: "RateLimitError",
}
"""By OpenAI's names, as far as it has one."""


def kind(status: int) -> str:
    """The type of an error of which no more is known than its status, of 4xx."""
    return KINDS.get(status, "BadRequestError")


def encode(value: object) -> bytes:
    """JSON in ASCII: half of a surrogate pair, which JSON may hold, has no UTF-8.

    Raises ValueError for what JSON has no word for, such as an infinite number.
    """
    return json.dumps(value, allow_nan=False, separators=(",", ":")).encode()


class Problem(Exception):  # noqa: N818 - it is the answer to a client as often as a fault
    """A request that gets no answer, with the status and the words for its client.

    `retry_after` is in seconds. `fields` says for each wrong field where it is and what is wrong with it.
    """

    def __init__(
        self,
        status: int,
        kind: str,
        message: str,
        *,
        param: str | None = None,
        retry_after: str | None = None,
        fields: list[dict[str, Any]] | None = None,
        close: bool = False,
    ):
        """`close` asks the client to open another connection, which may lead elsewhere."""
        super().__init__(message)
        self.status, self.kind, self.message, self.param = status, kind, message, param
        self.fields = fields
        self.headers: dict[str, str] = {}
        if retry_after is not None:
            self.headers["Retry-After"] = retry_after
        if close:
            self.headers["Connection"] = "close"

    @property
    def body(self) -> Mapping[str, Any]:
        """`error` as clients of OpenAI read it, `detail` as clients of the guide do."""
        error = {"message": self.message, "type": self.kind, "param": self.param, "code": self.status}
        return {"error": error, "detail": self.fields or self.message}

    @property
    def response(self) -> Response:
        """The answer, while none has begun."""
        return Response(encode(self.body), self.status, self.headers, "application/json")

    @property
    def event(self) -> bytes:
        """The last event of a stream that has begun."""
        return b"event: error\ndata: " + encode(self.body) + b"\n\n"


def unavailable(message: str, *, close: bool = False) -> Problem:
    """Nobody can answer now, and somebody may soon."""
    return Problem(503, "ServiceUnavailableError", message, retry_after="5", close=close)


def broken(message: str) -> Problem:
    """What vLLM sent, or did not send, is no answer."""
    return Problem(502, "BadGatewayError", message)


def late(message: str) -> Problem:
    """Vllm has said nothing for too long."""
    return Problem(504, "GatewayTimeoutError", message)


def invalid(message: str, fields: list[dict[str, Any]] | None = None) -> Problem:
    """The request asks for what there is not."""
    param = ".".join(map(str, fields[0]["loc"][1:])) if fields else None
    return Problem(422, "UnprocessableEntityError", message, param=param or None, fields=fields)

"""vLLM's answers in the words of the form that was asked in."""

import json
from collections.abc import Sequence
from typing import Any

from llm_microservice.events import DONE, data
from llm_microservice.forms import Ask, GuideRequest
from llm_microservice.problems import Problem, broken, encode, kind

GIBBERISH = (ValueError, LookupError, TypeError, AttributeError, RecursionError)
"""What comes of reading what is no JSON, or not of the shape that it should have."""
LAST = b"data: [DONE]\n\n"


class Answer:
    """An answer in OpenAI's words, as vLLM gives it."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self.done = False
        """Whether the stream has come to its end."""
        self.failure: Problem | None = None
        """Why there is no more of it, if vLLM says so or speaks gibberish."""
        self.repeats: dict[str, Any] = {}
        """What it takes over from the request."""

    def whole(self, body: bytes) -> bytes:
        """Return the answer that did not come as a stream.

        Raises Problem.
        """
        return body

    def part(self, events: Sequence[bytes]) -> bytes:
        """Return what these events of vLLM become, up to the end or the first that tells of a failure."""
        told = b""
        for event in events:
            said = data(event)
            if said == DONE:
                self.done = True
                return told + LAST
            try:
                if self._failed(said):
                    break
                told += self._words(event, said)
            except GIBBERISH:
                self.failure = broken("an event of vLLM is not as it should be")
                break
        return told

    def _failed(self, said: bytes) -> bool:
        """Whether vLLM says with this that it has failed; it goes on to say that it is done."""
        # Few events hold the word, and only those need to be read.
        chunk = json.loads(said) if b'"error"' in said else None
        if not isinstance(chunk, dict) or not chunk.get("error"):
            return False
        # It may be the request's fault: vLLM checks some parameters when its stream has begun.
        code = _error(chunk).get("code")
        self.failure = _problem(code if isinstance(code, int) else 500, chunk)
        return True

    def _words(self, event: bytes, said: bytes) -> bytes:  # noqa: ARG002 - others put it into other words
        """What becomes of one event, which says this."""
        return event


class GuideAnswer(Answer):
    """An answer in the words of the guide's release 1.3.0."""

    def __init__(self, request: GuideRequest, *, stream: bool):
        """Answer this request. Raises ValueError if what it wants back is not JSON."""
        super().__init__()
        repeats = {
            "prompt": request.prompt,
            "streaming": False,
            "output_guardrail_params": request.output_guardrail_params,
        }
        encode(repeats)
        self.repeats = {} if stream else repeats

    def whole(self, body: bytes) -> bytes:
        """Return the guide's document."""
        try:
            answer = json.loads(body)
            choice = answer["choices"][0]
            text = _text(choice.get("message", choice))
            return encode({"id": answer.get("id"), "text": text, **self.repeats})
        except GIBBERISH as error:
            raise broken("vLLM's answer has no text in it") from error

    def _words(self, event: bytes, said: bytes) -> bytes:  # noqa: ARG002 - what it says is enough
        """Return its tokens, as the guide's clients read them: as Python writes a text."""
        choices = json.loads(said)["choices"] if said else []
        texts = [_text(each.get("delta", each)) for each in choices if not each.get("index")]
        return b"".join(f"data: {text!r}\n\n".encode() for text in texts if text)


def _text(part: Any) -> str:
    return part.get("content", part.get("text")) or ""


def answer_to(ask: Ask) -> Answer:
    """The answer in the form of the request."""
    return Answer() if ask.guide is None else GuideAnswer(ask.guide, stream=ask.stream)


def refusal(status: int, body: bytes, retry_after: str | None) -> Problem:
    """What a client is told when vLLM does not answer with 200."""
    try:
        return _problem(status, json.loads(body), retry_after)
    except GIBBERISH:
        return _problem(status, None, retry_after)


def _problem(status: int, said: object, retry_after: str | None = None) -> Problem:
    """What a client is told of a failure with this status, of which vLLM says this."""
    error = _error(said)
    message = str(error.get("message") or f"vLLM answered with status {status}")
    if status in range(400, 500):
        param = error.get("param")
        return Problem(
            status,
            str(error.get("type") or kind(status)),
            message,
            param=param if isinstance(param, str) else None,
            retry_after=retry_after,
        )
    if status == 503:
        return Problem(503, "ServiceUnavailableError", message, retry_after=retry_after or "5")
    return broken(f"vLLM failed with status {status}: {message}" if status >= 500 else message)


def _error(said: object) -> dict[str, Any]:
    """OpenAI's object. vLLM's check of keys says `error` in a word, and FastAPI below it `detail`."""
    if not isinstance(said, dict):
        return {}
    error = said.get("error") or said.get("detail") or said
    return error if isinstance(error, dict) else {"message": error}

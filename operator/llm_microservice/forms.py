"""The forms of a request, and what each asks of vLLM.

The shape of `messages` chooses: an object (or `query` in its place) is the guide's form, a list is OpenAI's.
"""

import json
import re
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Discriminator, FailFast, Field, Tag, model_validator

GUIDE, OPENAI = "guide", "openai"
MOST_VALUES = 65_536
MOST_MESSAGES = 4096
STRING = re.compile(r'"[^"]*"')
Json = dict[str, Any]


class TooManyValuesError(ValueError):
    """To read this would take too much time and memory."""


def read(body: bytes) -> object:
    """What a request says, in JSON.

    A text of some MiB is read in milliseconds. As many bytes of small values take seconds, in which nobody
    else is answered, and a hundred times their size of memory.

    Raises TooManyValuesError, and ValueError or RecursionError for what is no JSON.
    """
    text = body.decode("utf-8-sig")
    if values(text) > MOST_VALUES:
        raise TooManyValuesError(f"the request holds more than {MOST_VALUES} values, which is the limit")
    return json.loads(text)


def values(text: str) -> int:
    """How many values are in the lists and objects of this JSON; an empty one counts as if it held one."""
    without_strings = STRING.sub("", text.replace(r"\\", "").replace(r"\"", ""))
    return sum(map(without_strings.count, ",[{"))


class Parameters(BaseModel):
    """What both forms may say of the answer. Any other field goes to vLLM as it is."""

    model_config = ConfigDict(extra="allow", allow_inf_nan=False)

    model: str | None = Field(None, description="Name of the model; that of the microservice if left out.")
    max_new_tokens: int | None = Field(None, gt=0, description="Most tokens of the answer.")
    max_tokens: int | None = Field(None, gt=0, description="The same, by OpenAI's name.")
    temperature: float | None = Field(None, ge=0)
    top_p: float | None = Field(None, gt=0, le=1)
    top_k: int | None = Field(None, ge=-1, description="0 and -1 consider all tokens.")
    repetition_penalty: float | None = Field(None, gt=0)
    streaming: bool | None = Field(None, description="Whether the answer comes as a stream of events.")
    stream: bool | None = Field(None, description="The same, by OpenAI's name.")

    @model_validator(mode="after")
    def _say_one_thing(self) -> Self:
        for ours, theirs in (("max_new_tokens", "max_tokens"), ("streaming", "stream")):
            said = {getattr(self, ours), getattr(self, theirs)} - {None}
            if len(said) > 1:
                raise ValueError(f"{ours} and {theirs} are two names of one thing and differ")
        return self

    @property
    def wants_stream(self) -> bool | None:
        """Whether a stream is asked for; None where nothing is said."""
        return self.stream if self.streaming is None else self.streaming

    def parameters(self, **defaults: Any) -> Json:
        """What goes to vLLM beside the prompt: all that was given, by vLLM's names."""
        own_fields = type(self).model_fields.keys() - Parameters.model_fields.keys()
        left_out = own_fields | {"max_new_tokens", "streaming"}
        # No dump: it would copy all that is in the fields that are passed on.
        given = {name: value for name, value in self if name not in left_out}
        given |= {"max_tokens": self.max_new_tokens or self.max_tokens, "stream": self.wants_stream}
        return defaults | {name: value for name, value in given.items() if value is not None}


class Pair(BaseModel):
    """The messages of the guide."""

    system: str = Field("", description="What the model should know and be; nothing is sent if empty.")
    user: str


class GuideRequest(Parameters):
    """A request as the guide's clients send it: `messages`, or `query` as they once did."""

    messages: Pair | None = None
    query: str | None = Field(None, description="A whole prompt, which no chat template is laid around.")
    typical_p: Any = Field(None, description="Not known to vLLM; of no effect.")
    input_guardrail_params: Any = Field(None, description="For others in a pipeline.")
    output_guardrail_params: Any = Field(None, description="For others; comes back as it is.")

    @model_validator(mode="after")
    def _ask_one_thing(self) -> Self:
        if (self.messages is None) == (self.query is None):
            raise ValueError("give either messages or query")
        return self

    @property
    def prompt(self) -> str:
        """What the user has asked, which the answer repeats."""
        return self.messages.user if self.messages else self.query or ""


class Message(BaseModel):
    """One message of a conversation; whatever else it holds goes to vLLM as it is."""

    model_config = ConfigDict(extra="allow")

    role: str


class OpenAIRequest(Parameters):
    """A request as OpenAI's clients send it."""

    # Of thousands of wrong messages the first is told.
    messages: Annotated[list[Message], FailFast()] = Field(min_length=1, max_length=MOST_MESSAGES)

    @model_validator(mode="after")
    def _ask_one_thing(self) -> Self:
        if (self.model_extra or {}).get("query") is not None:
            raise ValueError("give either messages or query")
        return self


def form(body: object) -> str:
    """The form of a request that nobody has checked yet."""
    if isinstance(body, dict):
        messages = body.get("messages")
        if isinstance(messages, dict) or (messages is None and "query" in body):
            return GUIDE
    return OPENAI


ChatRequest = Annotated[
    Annotated[GuideRequest, Tag(GUIDE)] | Annotated[OpenAIRequest, Tag(OPENAI)], Discriminator(form)
]


class Ask:
    """A checked request on its way: the path at vLLM, the body for it, and whether a stream is wanted."""

    CHAT, COMPLETIONS = "/v1/chat/completions", "/v1/completions"

    def __init__(self, request: GuideRequest | OpenAIRequest, model: str):
        """Use `model` where the request names none and this is not empty."""
        defaults: Json = {"model": model} if model else {}
        self.path = self.CHAT
        self.guide = request if isinstance(request, GuideRequest) else None
        if isinstance(request, OpenAIRequest):
            self.body = request.parameters(**defaults) | {"messages": list(map(dict, request.messages))}
        else:
            # Those of the guide's defaults that took effect there: top_k and repetition_penalty never did.
            defaults |= {"max_tokens": 1024, "temperature": 0.01, "top_p": 0.95, "stream": True}
            self.body = request.parameters(**defaults) | self._prompt(request)
        self.stream = bool(self.body.get("stream"))

    @property
    def form(self) -> str:
        """Which form the request has."""
        return OPENAI if self.guide is None else GUIDE

    def _prompt(self, request: GuideRequest) -> Json:
        if request.messages is None:
            # As in the versions whose clients send `query`: a model without a chat template answers it too.
            self.path = self.COMPLETIONS
            return {"prompt": request.query}
        pair = request.messages
        system = [{"role": "system", "content": pair.system}] if pair.system else []
        return {"messages": [*system, {"role": "user", "content": pair.user}]}

"""The LLM microservice of a server: answers the guide's requests, and OpenAI's, by the server."""

from typing import Annotated, Literal

from pydantic import Field

from vllm_operator.api.meta import Model
from vllm_operator.api.parts import ImageName, Resources


class Microservice(Model):
    """The LLM microservice, which takes the guide's requests beside OpenAI's and asks the server."""

    enabled: bool = False
    """Make it: a Deployment, and a Service of the server's name with `-llm`."""
    replicas: Annotated[int, Field(ge=0, le=1000)] = 1
    """Pods that answer. 0 suspends it."""
    image: ImageName | None = None
    """Its image, which is the operator's own. Unset: the operator's default, which then stays the same."""
    connector: Literal["generic", "langchain"] = "generic"
    """The guide's word for how vLLM is asked. Both mean OpenAI's HTTP; `langchain` is told of in its log."""
    port: Annotated[int, Field(ge=1, le=65535)] = 9000
    """Port of its Service. The container itself listens on 9000."""
    resources: Resources | None = None
    """Compute resources of its container. Unset: a tenth of a CPU and 256Mi are asked for,
    and 768Mi are the most."""

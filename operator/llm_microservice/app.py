"""The pages of the microservice."""

from collections.abc import Callable, Coroutine
from typing import Annotated, Any

from fastapi import Body, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, JSONResponse, Response

from llm_microservice.forms import GUIDE, OPENAI, Ask, ChatRequest, TooManyValuesError, read
from llm_microservice.gate import Gate
from llm_microservice.page import page
from llm_microservice.problems import Problem, invalid, kind, unavailable
from llm_microservice.relay import Relay
from llm_microservice.service import Service

TITLE = "LLM microservice"
DESCRIPTION = "Answers the guide's requests, and OpenAI's, by a vLLM behind it."
EXAMPLES = {
    "guide": {"value": {"messages": {"system": "Be brief.", "user": "Who are you?"}, "max_new_tokens": 17}},
    "openai": {"value": {"messages": [{"role": "user", "content": "Who are you?"}], "stream": True}},
    "query": {"value": {"query": "Deep learning is", "max_new_tokens": 17, "streaming": False}},
}
ERRORS: dict[int | str, dict[str, Any]] = {
    404: {"description": "vLLM does not serve this model. Other refusals of vLLM keep their status too."},
    408: {"description": "The request was not whole in time."},
    413: {"description": "The request is too large, or holds too many values."},
    422: {"description": "A field is wrong; `detail` says which."},
    429: {"description": "As many requests are being answered, or as much of them is held, as may be."},
    502: {"description": "vLLM failed, or broke off its answer."},
    503: {"description": "vLLM is not ready, or this server is ending."},
    504: {"description": "vLLM has sent nothing for too long."},
}


class Reading(Request):
    """A request that is read by our limits."""

    async def json(self) -> Any:
        """Return what it says. FastAPI makes an answer of what is raised."""
        try:
            return read(await self.body())
        except TooManyValuesError as error:
            raise HTTPException(413, str(error)) from error


class Route(APIRoute):
    """A request that keeps its body, read and unread, no longer than it takes to make an answer of it."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Handle a request of our own: the one that is given lives until the answer has been sent."""
        handle = super().get_route_handler()

        async def once(request: Request) -> Response:
            return await handle(Reading(request.scope, request.receive))

        return once


def application(service: Service) -> FastAPI:
    """The application, with its gate."""
    # The pages that FastAPI brings load their programs from elsewhere.
    app = FastAPI(title=TITLE, description=DESCRIPTION, docs_url=None, redoc_url=None)
    app.router.route_class = Route
    _chat(app, service)
    _health_check(app, service)

    @app.get("/metrics", include_in_schema=False)
    async def metrics() -> Response:
        return Response(service.metrics.text(), media_type=CONTENT_TYPE_LATEST)

    @app.get("/docs", include_in_schema=False)
    async def docs() -> Response:
        return HTMLResponse(page(app.openapi()))

    app.add_middleware(Gate, settings=service.settings, life=service.life, metrics=service.metrics)
    app.add_exception_handler(Problem, _problem)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _refused)
    app.add_exception_handler(Exception, _fault)
    return app


def _chat(app: FastAPI, service: Service) -> None:
    @app.post("/v1/chat/completions", responses=ERRORS, response_class=JSONResponse)
    async def chat(
        request: Request, body: Annotated[ChatRequest, Body(openapi_examples=EXAMPLES)]
    ) -> Response:
        """Answer in the words of the form that is asked in, as one document or as a stream of events."""
        try:
            return Relay(service, Ask(body, service.settings.model), request.headers)
        except ValueError as error:
            raise invalid(f"the request cannot be passed on: {error}") from error
        except RecursionError as error:
            raise Problem(400, "BadRequestError", "the request is nested too deep") from error


def _health_check(app: FastAPI, service: Service) -> None:
    @app.get("/v1/health_check", responses={503: {"description": "vLLM cannot answer now."}})
    async def health_check() -> dict[str, str]:
        """Say whether vLLM can answer, as vLLM says it itself."""
        if service.life.ending.is_set():
            raise unavailable("this server is ending", close=True)
        await service.health.check()
        return {"Service Title": TITLE, "Service Description": DESCRIPTION}


async def _problem(_: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)  # noqa: S101 - it is registered for this class
    return error.response


async def _invalid(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - it is registered for this class
    fields = [
        # The form that was chosen is no part of a field's path. What the client sent is not sent back.
        {
            "loc": [part for part in each["loc"] if part not in (GUIDE, OPENAI)],
            "msg": each["msg"],
            "type": each["type"],
        }
        for each in error.errors()
    ]
    first = fields[0]
    place = ".".join(map(str, first["loc"]))
    return invalid(f"{place}: {first['msg']}", fields).response


async def _refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - it is registered for this class
    problem = Problem(error.status_code, kind(error.status_code), str(error.detail))
    problem.headers |= error.headers or {}
    return problem.response


async def _fault(_: Request, __: Exception) -> Response:
    return Problem(500, "InternalServerError", "a fault of the microservice; its log says more").response

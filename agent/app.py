"""The agent's HTTP application: routes, validation and problems made from a list of endpoints."""

import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Any

from pydantic import BaseModel, TypeAdapter, ValidationError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from agent.endpoints import Call, Endpoint, Reply
from agent.errors import Refused
from agent.fences import Fences
from agent.guard import Guard
from agent.openapi import openapi_endpoint
from agent.problems import invalid, problem_response
from agent.settings import AgentSettings
from agent.wire.base import MutatingRequest, OpaqueId
from agent.wire.problems import Problem

Lifespan = Callable[[], AbstractAsyncContextManager[None]]

log = logging.getLogger("agent.app")
_ID = TypeAdapter(OpaqueId)


def build_app(
    settings: AgentSettings,
    endpoints: Sequence[Endpoint],
    *,
    fences: Fences | None = None,
    lifespans: Sequence[Lifespan] = (),
) -> Guard:
    """The whole application: `endpoints` behind the guard; `lifespans` are entered in order and left in reverse."""
    fences = fences or Fences(settings.state_dir)
    served = [*endpoints, openapi_endpoint(endpoints)]

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            for enter in lifespans:
                await stack.enter_async_context(enter())
            yield

    app = Starlette(
        routes=[_route(endpoint, settings, fences) for endpoint in served],
        exception_handlers={HTTPException: _http_problem, Exception: _server_problem},
        lifespan=lifespan,
    )
    public = frozenset(endpoint.path for endpoint in served if endpoint.public)
    return Guard(app, settings, public)


def _route(endpoint: Endpoint, settings: AgentSettings, fences: Fences) -> Route:
    adapter: TypeAdapter[Any] | None = None if endpoint.answer is None else TypeAdapter(endpoint.answer)

    async def serve(request: Request) -> Response:
        try:
            call = await _call(endpoint, request)
            _check_mutation(call, settings, fences)
            return _answer(endpoint, adapter, await endpoint.handler(call))
        except ValidationError as error:
            return invalid(error)
        except Refused as refused:
            return problem_response(refused.problem)

    return Route(endpoint.path, serve, methods=[endpoint.method], name=endpoint.name)


async def _call(endpoint: Endpoint, request: Request) -> Call:
    path = {name: _path_id(name, str(value)) for name, value in request.path_params.items()}
    query = _query(endpoint.query, request)
    body = endpoint.request.model_validate_json(await request.body() or b"{}") if endpoint.request else None
    return Call(path, query, body)


def _path_id(name: str, value: str) -> str:
    try:
        return _ID.validate_python(value)
    except ValidationError:
        raise Refused(404, "Not found", f"cannot find it: {name} is not an id") from None


def _query(model: type[BaseModel] | None, request: Request) -> BaseModel | None:
    return None if model is None else model.model_validate(dict(request.query_params))


def _check_mutation(call: Call, settings: AgentSettings, fences: Fences) -> None:
    for given in (call.body, call.query):
        if not isinstance(given, MutatingRequest):
            continue
        if given.client_id is not None and given.client_id != settings.client_id:
            raise Refused(
                409,
                "Another host",
                f"cannot act for client {given.client_id}: this agent is {settings.client_id}",
            )
        project_id = getattr(given, "project_id", None) or call.path.get("project_id")
        if project_id is not None:
            fences.check(project_id, given.fence)


def _answer(endpoint: Endpoint, adapter: TypeAdapter[Any] | None, result: Any) -> Response:
    status, answer = (
        (result.status, result.answer) if isinstance(result, Reply) else (endpoint.status, result)
    )
    if adapter is None:
        return Response(status_code=status)
    return Response(adapter.dump_json(answer), status_code=status, media_type="application/json")


async def _http_problem(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    titles = {404: "Not found", 405: "Method not allowed"}
    title = titles.get(error.status_code, "Request failed")
    problem = Problem(status=error.status_code, title=title, detail=f"cannot answer: {title.lower()}")
    return problem_response(problem, headers=error.headers)


async def _server_problem(_request: Request, _error: Exception) -> Response:
    detail = "cannot answer: an error inside the agent, which its log explains"
    return problem_response(Problem(status=500, title="Internal error", detail=detail))

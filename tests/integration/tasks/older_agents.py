"""Simulated agents of the oldest wire: a request with a field that it didn't know is refused, an answer has no newer one."""

import re
from typing import Any

import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from benchmarks.rollout.agents import SimulatedFleet
from tests.older_wire import ROUTES, recorded

METHODS = ["GET", "POST", "PUT", "DELETE"]


class OlderFleet(SimulatedFleet):
    """A fleet of which the clients in `older` are one wire version behind. `refused`: what they didn't understand."""

    def __init__(self, client_ids: list[str], version: str, older: set[str]) -> None:
        super().__init__(client_ids, version)
        self.older, self.refused = older, list[str]()
        self._newer = httpx.AsyncClient(transport=httpx.ASGITransport(self.app), base_url="http://newer")
        self.app = Starlette(routes=[Route("/{client}/{rest:path}", self._play, methods=METHODS)])

    async def _play(self, request: Request) -> Response:
        content, headers = await request.body(), {"Content-Type": "application/json"}
        if request.path_params["client"] not in self.older:
            answer = await self._forward(request, content, headers)
            return Response(answer.content, answer.status_code, media_type=answer.headers.get("content-type"))
        found = _route_of(request.method, "/" + request.path_params["rest"])
        if found is None:
            return _problem(404, "no such page")
        name, known = found
        given = await request.json() if content else dict(request.query_params)
        if unknown := sorted(set(given) - known):
            self.refused.append(f"{request.method} {request.url.path}: {unknown}")
            return _problem(422, f"unknown: {unknown}")
        answer = await self._forward(request, content, headers)
        if answer.status_code >= 400 or name is None:
            return Response(answer.content, answer.status_code, media_type=answer.headers.get("content-type"))
        if name == "info":
            return JSONResponse(recorded(name) | {"client_id": request.path_params["client"]})
        return JSONResponse(_like(recorded(name), answer.json()), answer.status_code)

    async def _forward(self, request: Request, content: bytes, headers: dict[str, str]) -> httpx.Response:
        path = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        return await self._newer.request(request.method, path, content=content, headers=headers, timeout=90)


def _route_of(method: str, path: str) -> tuple[str | None, set[str]] | None:
    path = re.sub(r"^/v1/executions/[^/]+", "/v1/executions/e1", path)
    path = re.sub(r"^/v1/monitors/[^/]+", "/v1/monitors/shop", path)
    return ROUTES.get((method, path))


def _like(sample: Any, answer: Any) -> Any:
    """What of the answer the recorded one has, too."""
    if isinstance(sample, dict) and isinstance(answer, dict):
        return {name: _like(sample[name], value) for name, value in answer.items() if name in sample}
    if isinstance(sample, list) and sample and isinstance(answer, list):
        return [_like(sample[0], one) for one in answer]
    return answer


def _problem(status: int, detail: str) -> Response:
    body = {"type": "about:blank", "title": "Invalid", "status": status, "detail": detail}
    return JSONResponse(body, status, media_type="application/problem+json")

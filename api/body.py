"""JSON bodies, read strictly: what pydantic would let through and a database or another program could not hold."""

import json
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response

MAX_INT = 2**63 - 1
MAX_DEPTH = 50
Path = tuple[str | int, ...]


def _refuse_constant(name: str) -> Any:
    raise json.JSONDecodeError(f"{name} is not JSON", "", 0)


def _finite(text: str) -> float:
    number = float(text)
    if number in (float("inf"), float("-inf")):
        raise json.JSONDecodeError("a number is out of range", "", 0)
    return number


def parse_json(body: bytes) -> Any:
    """The body's value. Raises json.JSONDecodeError (NaN and Infinity are no JSON) and RequestValidationError."""
    try:
        value = json.loads(body.decode(), parse_constant=_refuse_constant, parse_float=_finite)
    except (UnicodeDecodeError, RecursionError) as error:
        raise json.JSONDecodeError("not JSON", "", 0) from error
    except json.JSONDecodeError:
        raise
    except ValueError as error:  # an integer of thousands of digits
        raise json.JSONDecodeError("a number is out of range", "", 0) from error
    bad = [
        {"loc": ("body", *path), "msg": message, "type": "value_error"}
        for path, message in _unstorable(value)
    ]
    if bad:
        raise RequestValidationError(bad[:100])
    return value


def _unstorable(root: Any) -> Iterator[tuple[Path, str]]:
    waiting: list[tuple[Path, Any]] = [((), root)]
    while waiting:
        path, value = waiting.pop()
        if len(path) > MAX_DEPTH:
            yield path[:3], "is nested too deeply"
        elif isinstance(value, dict):
            for key, inner in value.items():
                wrong = _wrong_text(key)
                if wrong is None:
                    waiting.append(((*path, key), inner))
                else:
                    yield path, f"has a key that {wrong}"
        elif isinstance(value, list):
            waiting.extend(((*path, index), inner) for index, inner in enumerate(value))
        else:
            wrong = _wrong_scalar(value)
            if wrong is not None:
                yield path, wrong


def _wrong_scalar(value: Any) -> str | None:
    if isinstance(value, str):
        return _wrong_text(value)
    if isinstance(value, int) and not -MAX_INT <= value <= MAX_INT:
        return "is out of range"
    return None


def _wrong_text(value: str) -> str | None:
    if "\x00" in value:
        return "must not contain a NUL character"
    if not value.isascii() and any("\ud800" <= character <= "\udfff" for character in value):
        return "must not contain a lone surrogate"
    return None


class StrictRequest(Request):
    """A request whose JSON is read strictly."""

    async def json(self) -> Any:
        """The body's value, read once."""
        if not hasattr(self, "_strict_json"):
            self._strict_json = parse_json(await self.body())
        return self._strict_json


class StrictRoute(APIRoute):
    """A route whose requests are StrictRequests."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """FastAPI's handler, given a StrictRequest, whose faults it lets through."""
        handler = super().get_route_handler()

        async def strict(request: Request) -> Response:
            ours = StrictRequest(request.scope, request.receive)
            body: bytes = request.scope.get("state", {}).get("body", b"")
            if body:
                try:
                    await ours.json()
                except json.JSONDecodeError as error:
                    raise RequestValidationError(
                        [{"type": "json_invalid", "loc": ("body",), "msg": error.msg}]
                    ) from None
            return await handler(ours)

        return strict

"""An endpoint as a value: the app routes it, validates it and documents it from this one description."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel


@dataclass(frozen=True, slots=True)
class Call:
    """One validated request: path parameters, and the query and body as the endpoint's types (None where it has none)."""

    path: dict[str, str] = field(default_factory=dict)
    query: Any = None
    body: Any = None


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer with a status other than the endpoint's own."""

    status: int
    answer: Any


Handler = Callable[[Call], Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """`handler` gets a `Call` and returns an `answer`, or a `Reply`, or raises `Refused`.

    `path` is a Starlette path; its parameters are opaque ids, checked before the handler is called. A `request` or
    `query` that is a `MutatingRequest` is checked for `client_id` and `fence` first. `answer` None: no body (204).
    """

    method: str
    path: str
    name: str
    handler: Handler
    summary: str
    answer: Any = None
    request: type[BaseModel] | None = None
    query: type[BaseModel] | None = None
    status: int = 200
    also: tuple[int, ...] = ()
    """Other successful statuses that a `Reply` may carry."""
    public: bool = False
    """True: needs no token."""

"""What a handler answers: a status, a body, and the JSON it becomes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pydantic import BaseModel
from starlette.responses import Response


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer before it is bytes."""

    status: int
    body: BaseModel | Sequence[BaseModel] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)

    def response(self) -> Response:
        """As an HTTP response."""
        content = b"" if self.body is None else dump(self.body)
        return Response(content, self.status, dict(self.headers), "application/json" if content else None)


def dump(body: BaseModel | Sequence[BaseModel]) -> bytes:
    """The JSON of one thing or of a bare array of them."""
    if isinstance(body, BaseModel):
        return body.model_dump_json().encode()
    return b"[" + b",".join(one.model_dump_json().encode() for one in body) + b"]"

"""Lists in pages: `limit` and `cursor` in, a bare array and the next page's address in `Link` (RFC 8288) out."""

import base64
import binascii
from collections.abc import Callable, Sequence
from typing import Annotated, Any

from fastapi import Query
from pydantic import BaseModel
from starlette.datastructures import URL
from starlette.responses import Response

from api.errors import invalid
from api.replies import dump

DEFAULT_LIMIT = 100
MAX_LIMIT = 1000

Limit = Annotated[int, Query(ge=1, le=MAX_LIMIT, description="At most so many are answered.")]
Cursor = Annotated[
    str | None,
    Query(max_length=500, description="From the `Link` header of the page before; opaque.", examples=[None]),
]


def encode_cursor(key: str) -> str:
    """An opaque cursor that stands after `key`."""
    return base64.urlsafe_b64encode(key.encode()).decode().rstrip("=")


def decode_cursor(cursor: str | None, check: Callable[[str], object] | None = None) -> str | None:
    """The key that the cursor stands after. Raises Refused (422) for one that was never given out."""
    if cursor is None:
        return None
    try:
        key = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode()
    except (binascii.Error, UnicodeError, ValueError):
        key = "\x00"
    if "\x00" in key or (check is not None and not check(key)):
        raise invalid("cursor", "it is not a cursor that a Link header carried")
    return key


def page_response(url: URL, items: Sequence[BaseModel], next_key: str | None) -> Response:
    """The page as an answer, with the next page's address where there is one."""
    headers = {}
    if next_key is not None:
        headers["Link"] = f'<{url.include_query_params(cursor=encode_cursor(next_key))}>; rel="next"'
    return Response(dump(items), 200, headers, "application/json")


def cut_page(rows: Sequence[Any], limit: int, key: Callable[[Any], str]) -> tuple[Sequence[Any], str | None]:
    """Of `limit + 1` rows the page, and the key that the next one stands after."""
    if len(rows) <= limit:
        return rows, None
    return rows[:limit], key(rows[limit - 1])

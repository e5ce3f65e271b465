"""Whether an alert is silenced: every matcher of a silence has to match. Regular expressions are RE2's, linear in time.

https://github.com/google/re2/wiki/Syntax
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import re2

from db.documents.silences import Matcher


def is_matched(matchers: Sequence[Matcher], facts: Mapping[str, str]) -> bool:
    """`facts`: the alert's labels, type, level, client_id and project. A fact that it has not is empty."""
    return all(_matches(one, facts.get(one.name, "")) for one in matchers)


def check_regex(pattern: str) -> str | None:
    """Why RE2 can't read it, or None."""
    try:
        _compiled(pattern)
    except re2.error as error:
        said = error.args[0] if error.args else "no regular expression"
        return said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said)
    return None


def _matches(matcher: Matcher, value: str) -> bool:
    if not matcher.is_regex:
        return matcher.value == value
    return _compiled(matcher.value).fullmatch(value) is not None


@lru_cache(maxsize=1000)
def _compiled(pattern: str) -> Any:
    options = re2.Options()
    options.log_errors = False
    return re2.compile(pattern, options)

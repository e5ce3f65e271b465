"""Regular expressions that somebody else wrote: RE2, which takes linear time whatever they are and whatever is searched.

Python's own can take for ever, and nothing can stop it. https://github.com/google/re2/wiki/Syntax
"""

from functools import lru_cache
from typing import Any

MAX_MEMORY_BYTES = 8 * 1024 * 1024


class PatternError(ValueError):
    """It is none that RE2 reads."""


def check_pattern(pattern: str) -> None:
    """Raises PatternError, saying why."""
    _compile(pattern)


def search(pattern: str, text: str) -> str | None:
    """The first group of the first match (or the whole match, where there is no group); None where nothing matches."""
    compiled = _compile(pattern)
    match = compiled.search(text)
    if match is None:
        return None
    return (match.group(1) if compiled.groups else match.group(0)) or ""


@lru_cache(maxsize=256)
def _compile(pattern: str) -> Any:
    import re2  # only where there is a pattern: it costs an agent memory

    options = re2.Options()
    options.log_errors = False
    options.max_mem = MAX_MEMORY_BYTES
    try:
        return re2.compile(pattern, options)
    except re2.error as error:
        said = error.args[0] if error.args else error
        text = said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said)
        raise PatternError(f"the pattern is not a regular expression (RE2's): {text}") from None

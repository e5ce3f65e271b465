"""Numbers among the settings of the flows: what is none ends the run with one line that names the setting."""

import math
from collections.abc import Mapping

from tasks.errors import PermanentTaskError

MOST = 10**9
"""In seconds 30 years: a longer time overflows a date."""


def number_setting(environ: Mapping[str, str], name: str, default: float, *, least: float = 0) -> float:
    """The setting, or its default where it is empty. Raises PermanentTaskError."""
    text = environ.get(name)
    if not text:
        return default
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not least <= number <= MOST:  # nothing holds of nan
        raise PermanentTaskError(f"cannot use {name}: it is not a number from {least:g} to {MOST}")
    return number


def whole_number_setting(environ: Mapping[str, str], name: str, default: int) -> int:
    """The same, where a part of one makes no sense."""
    number = float(number_setting(environ, name, default))
    if not number.is_integer():
        raise PermanentTaskError(f"cannot use {name}: it is not a whole number")
    return int(number)

"""Values of the API's answers as text for people. What comes from a server may not steer the terminal: see `clean`."""

import re
from typing import Any

NOTHING = "–"
_STEERING = [*range(0x20), *range(0x7F, 0xA0), 0x061C, 0x200E, 0x200F, *range(0x2028, 0x202F)]
_STEERING += [*range(0x2066, 0x206A), *range(0xD800, 0xE000)]
"""Control characters (C0, DEL, C1), what reorders text (https://trojansource.codes), lone surrogates."""

_IN_A_LINE = dict.fromkeys(_STEERING) | dict.fromkeys(map(ord, "\t\n\r"), " ")
_IN_A_TEXT = {code: None for code in _STEERING if chr(code) not in "\t\n"}
_TIME = re.compile(r"(\d{4}-\d\d-\d\d)T(\d\d:\d\d:\d\d)(?:\.\d+)?(?:Z|\+00:00)")


def clean(text: str) -> str:
    """The text in one line, without anything that a terminal obeys."""
    return text.translate(_IN_A_LINE)


def clean_text(text: str) -> str:
    """The same for text of several lines."""
    return text.translate(_IN_A_TEXT)


def cell(value: Any) -> str:
    """One value of an answer as the text of a table's cell."""
    if value is None or value in ("", [], {}):
        return NOTHING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.1f}"
    if isinstance(value, dict):
        return ", ".join(f"{clean(str(name))}={cell(one)}" for name, one in sorted(value.items()))
    if isinstance(value, list):
        return ", ".join(cell(one) for one in value)
    text = clean(str(value))
    time = _TIME.fullmatch(text)
    return f"{time[1]} {time[2]}Z" if time else text


def size(value: Any) -> str:
    """Bytes as mebibytes."""
    return cell(None) if value is None else f"{value / 2**20:.1f} MiB"


def duration(milliseconds: Any) -> str:
    """Milliseconds as seconds, or minutes and seconds."""
    if milliseconds is None:
        return NOTHING
    seconds = milliseconds / 1000
    return f"{seconds:.1f} s" if seconds < 60 else f"{int(seconds // 60)} min {int(seconds % 60)} s"

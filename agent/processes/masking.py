"""Secrets on a command line are masked before anything is cut, so that a cut can't hide the name that gives one away.

When in doubt a value is masked: a command line is shown to people, it is never run again.
"""

import re
from collections.abc import Sequence

from agent.wire.processes import MAX_CMDLINE_BYTES

MASK = "***"

_WORDS = r"(?:password|passwd|passphrase|pwd|token|secret|key|credential|\bpass\b|\bjwt\b)"
_VALUE = r"(?:\"[^\"]*\"?|'[^']*'?|\S+)"
# Every repetition before a value is bounded, so that 100 kB of anything is masked in linear time.
_ASSIGNMENT = re.compile(rf"{_WORDS}[\w.-]{{0,64}}=", re.IGNORECASE)
_COLON_OPTION = re.compile(rf"^(?:--?|/)[\w.-]{{0,64}}?{_WORDS}[\w.-]{{0,64}}:(?!//)", re.IGNORECASE)
_ASSIGNED = re.compile(
    rf"({_WORDS}[\w.-]{{0,64}}[\"']?\s{{0,8}}(?:=\s{{0,8}}|:(?=[\s\"'])\s{{0,8}})){_VALUE}", re.IGNORECASE
)
_OPTION_INSIDE = re.compile(rf"(-[\w.-]{{0,64}}?{_WORDS}[\w.-]{{0,64}}\s{{1,8}}){_VALUE}", re.IGNORECASE)
_VALUE_FOLLOWS = re.compile(rf"^(?:--?[\w.-]{{0,64}}?{_WORDS}[\w.-]{{0,64}}|{_WORDS})$", re.IGNORECASE)
_URL_USER = re.compile(r"://[^\s/:@]{0,256}:")
_BLANKS = re.compile(r"(\s+)")
_BEARER = re.compile(r"\b(bearer|basic)\s{1,8}\S+", re.IGNORECASE)


def mask_arguments(arguments: Sequence[str]) -> list[str]:
    """The same arguments with the values of secrets replaced by `***`."""
    masked, value_follows = [], False
    for argument in arguments:
        masked.append(MASK if value_follows and argument else _mask_one(argument))
        value_follows = bool(_VALUE_FOLLOWS.match(argument))
    return masked


def shown_cmdline(raw: bytes) -> str:
    """What /proc/<pid>/cmdline holds, masked, joined by one space, cut at 4,096 bytes."""
    text = raw.removesuffix(b"\0").decode("utf-8", "replace")
    line = " ".join(mask_arguments(text.split("\0"))).rstrip()
    return line.encode()[:MAX_CMDLINE_BYTES].decode("utf-8", "ignore")


def _mask_one(argument: str) -> str:
    argument = _mask_url_passwords(argument)
    assignment = _COLON_OPTION.match(argument) or _ASSIGNMENT.search(argument)
    if assignment and not any(char.isspace() for char in argument[: assignment.start()]):
        return argument[: assignment.end()] + MASK
    argument = _OPTION_INSIDE.sub(rf"\g<1>{MASK}", argument)
    argument = _BEARER.sub(rf"\g<1> {MASK}", argument)
    return _ASSIGNED.sub(rf"\g<1>{MASK}", argument)


def _mask_url_passwords(argument: str) -> str:
    """What stands between a URL's user and the last `@` of its word: a password may have an `@` itself."""
    if "://" not in argument or "@" not in argument:
        return argument
    return "".join(_mask_url_password(word) for word in _BLANKS.split(argument))


def _mask_url_password(word: str) -> str:
    end = word.rfind("@")
    user = _URL_USER.search(word, 0, end) if end > 0 else None
    return word[: user.end()] + MASK + word[end:] if user else word

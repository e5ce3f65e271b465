"""Secrets on a command line are masked before anything is cut, so that a cut can't hide the name that gives one away.

When in doubt a value is masked: a command line is shown to people, it is never run again.
"""

import re
from collections.abc import Sequence

from agent.wire.processes import MAX_CMDLINE_BYTES

MASK = "***"

_WORDS = r"(?:password|passwd|passphrase|pwd|token|secret|key|credential)"
# Every repetition is bounded, so that 100 kB of anything is masked in linear time.
_ASSIGNED = re.compile(
    rf"({_WORDS}[\w.-]{{0,64}}[\"']?\s{{0,8}}[=:]\s{{0,8}})(?:\"[^\"]*\"?|'[^']*'?|[^\s\"',;&]\S*)", re.IGNORECASE
)
_WHOLE_ASSIGNED = re.compile(rf"^([\w.-]{{0,64}}?{_WORDS}[\w.-]{{0,64}}\s{{0,8}}[=:])", re.IGNORECASE)
_OPTION_INSIDE = re.compile(
    rf"(--?[\w.]{{0,64}}(?:-[\w.]{{1,64}}){{0,4}}\s{{1,8}})(\"[^\"]*\"?|'[^']*'?|\S+)", re.IGNORECASE
)
_SECRET_OPTION = re.compile(rf"^--?[\w.-]{{0,64}}?{_WORDS}[\w.-]{{0,64}}$", re.IGNORECASE)
_BARE_WORD = re.compile(rf"^{_WORDS}$", re.IGNORECASE)
_URL_PASSWORD = re.compile(r"(://[^\s/:@]{0,256}:)\S*@")
_BEARER = re.compile(r"\b(bearer|basic)\s+\S+", re.IGNORECASE)


def mask_arguments(arguments: Sequence[str]) -> list[str]:
    """The same arguments with the values of secrets replaced by `***`."""
    masked, value_follows = [], False
    for argument in arguments:
        masked.append(MASK if value_follows and argument else _mask_one(argument))
        value_follows = bool(_SECRET_OPTION.match(argument) or _BARE_WORD.match(argument))
    return masked


def shown_cmdline(raw: bytes) -> str:
    """What /proc/<pid>/cmdline holds, masked, joined by one space, cut at 4,096 bytes."""
    text = raw.removesuffix(b"\0").decode("utf-8", "replace")
    line = " ".join(mask_arguments(text.split("\0"))).rstrip()
    return line.encode()[:MAX_CMDLINE_BYTES].decode("utf-8", "ignore")


def _mask_one(argument: str) -> str:
    whole = _WHOLE_ASSIGNED.match(argument) or (argument.startswith("-") and _assigned_option(argument))
    if whole:
        return argument[: whole.end()] + MASK
    argument = _URL_PASSWORD.sub(rf"\g<1>{MASK}@", argument)
    if " " in argument:
        argument = _OPTION_INSIDE.sub(_mask_option, argument)
        argument = _BEARER.sub(rf"\g<1> {MASK}", argument)
    return _ASSIGNED.sub(rf"\g<1>{MASK}", argument)


def _assigned_option(argument: str) -> "re.Match[str] | None":
    return re.match(r"--?[^\s=]{0,200}=", argument) if _names_secret(argument) else None


def _names_secret(argument: str) -> bool:
    return bool(_SECRET_OPTION.match(argument[:200].partition("=")[0])) and "=" in argument[:200]


def _mask_option(match: "re.Match[str]") -> str:
    option = match.group(1)
    return option + MASK if _SECRET_OPTION.match(option.strip()) else match.group(0)

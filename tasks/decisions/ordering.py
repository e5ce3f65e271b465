"""Which of two version names is newer: natural order, so that 1.10 comes after 1.9 and 2.0rc1 before 2.0.

Numbers compare as numbers, trailing zeros don't count (1.4 and 1.4.0 are equally new), `dev`, `a`, `b` and `rc` (and
their long forms) come before the release, any other word after it, and `+build` doesn't count. `1:2.0` has epoch 1.
"""

import re
from typing import TypeAlias

Key: TypeAlias = tuple[tuple[int, int, str], ...]

_EPOCH = re.compile(r"^(\d+):")
_TOKEN = re.compile(r"\d+|[a-z]+|~")
_PRE_RELEASES = {
    "~": -1,
    "dev": 0,
    "snapshot": 0,
    "a": 1,
    "alpha": 1,
    "b": 2,
    "beta": 2,
    "c": 3,
    "rc": 3,
    "pre": 3,
    "preview": 3,
}
_PRE, _END, _WORD, _NUMBER = range(4)


def version_key(version: str) -> Key:
    """A key under which versions sort, oldest first."""
    text = version.lower().partition("+")[0]
    epoch = _EPOCH.match(text)
    if epoch:
        text = text[epoch.end() :]
    if re.match(r"v\d", text):
        text = text[1:]
    parts: list[tuple[int, int, str]] = [(_NUMBER, int(epoch[1]) if epoch else 0, "")]
    for token in _TOKEN.findall(text):
        if not token.isdigit():
            _drop_zeros(parts)
        parts.append(_part(token))
    _drop_zeros(parts)
    return (*parts, (_END, 0, ""))


def is_downgrade(from_version: str, to_version: str) -> bool:
    """Whether `to_version` is older than `from_version`; equally new ones are no downgrade."""
    return version_key(to_version) < version_key(from_version)


def _part(token: str) -> tuple[int, int, str]:
    if token.isdigit():
        return (_NUMBER, int(token), "")
    if token in _PRE_RELEASES:
        return (_PRE, _PRE_RELEASES[token], "")
    return (_WORD, 0, token)


def _drop_zeros(parts: list[tuple[int, int, str]]) -> None:
    while len(parts) > 1 and parts[-1] == (_NUMBER, 0, ""):
        parts.pop()

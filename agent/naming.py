"""Container names: made, kept unique on their host, and told apart by project. Pure: the clock and the taken names go in."""

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from agent.wire.naming import INDEX_DIGITS, ContainerNaming, Token

MAX_INDEX = 10**INDEX_DIGITS - 1

_NOT_DOCKER = re.compile(r"[^a-zA-Z0-9_.-]+")
_NOT_DNS = re.compile(r"[^a-z0-9-]+")
_UNIQUE = ("TIMESTAMP", "DATE", "TIME", "INDEX")

Rule = Literal["docker", "dns-1123"]
"""Docker: `[a-zA-Z0-9][a-zA-Z0-9_.-]+`; Kubernetes: RFC 1123 label, at most 63 of `[a-z0-9-]`, alphanumeric at both ends."""

DNS_LABEL_CHARACTERS = 63


class NamingError(ValueError):
    """No legal and unique name can be made."""


@dataclass(frozen=True, slots=True)
class _Part:
    text: str
    kind: Literal["kept", "value", "literal"]


def make_name(
    naming: ContainerNaming,
    *,
    environment: str,
    version: str,
    at: datetime,
    taken: Collection[str] = (),
    rule: Rule = "docker",
) -> str:
    """The first name that is legal and not `taken`; the same for the same input. Raises NamingError.

    `at` gives ${TIMESTAMP} (YYYYmmddHHMMSS), ${DATE} and ${TIME}. ${INDEX} is the lowest that is free; a template
    without it gets a separator and an index, from 2 on, where its name is taken. What is too long loses characters of
    what doesn't make it unique: of the last value first, never of the prefix, a time or the index.
    """
    tokens, values = naming.tokens(), _values(naming, environment, version, at)
    names = taken if isinstance(taken, set | frozenset) else frozenset(taken)
    for index in range(1, MAX_INDEX + 1):
        name = _render(naming, tokens, values, index, rule)
        if name not in names:
            return name
    raise NamingError(f"cannot find a free name for {naming.prefix}: {MAX_INDEX} are taken")


def name_at(
    naming: ContainerNaming,
    index: int,
    *,
    environment: str,
    version: str,
    at: datetime,
    rule: Rule = "docker",
) -> str:
    """What `make_name` answers where `index` (1 to MAX_INDEX) is the lowest that is free. Raises NamingError."""
    return _render(naming, naming.tokens(), _values(naming, environment, version, at), index, rule)


def _values(naming: ContainerNaming, environment: str, version: str, at: datetime) -> dict[str, str]:
    return {
        "PREFIX": naming.prefix,
        "ENV": environment,
        "VERSION": version,
        "TIMESTAMP": at.strftime("%Y%m%d%H%M%S"),
        "DATE": at.strftime("%Y%m%d"),
        "TIME": at.strftime("%H%M%S"),
    }


def _render(
    naming: ContainerNaming, tokens: Sequence[Token], values: dict[str, str], index: int, rule: Rule
) -> str:
    parts = [_part(token, values, index, rule) for token in tokens]
    if ("variable", "INDEX") not in tokens and index > 1:
        parts.append(_Part(_legal(f"{naming.separator}{index}", rule), "kept"))
    limit = min(naming.max_length, DNS_LABEL_CHARACTERS) if rule == "dns-1123" else naming.max_length
    name = _shorten(parts, limit, len(naming.prefix) + len(naming.separator))
    if rule == "dns-1123":
        name = name.strip("-")
    if len(name) > limit or not _is_legal(name, rule):
        raise NamingError(f"cannot make a legal name of at most {limit} characters for {naming.prefix}")
    return name


def _part(token: Token, values: dict[str, str], index: int, rule: Rule) -> _Part:
    kind, text = token
    if kind == "literal":
        return _Part(_legal(text, rule), "literal")
    value = str(index) if text == "INDEX" else values[text]
    return _Part(_legal(value, rule), "kept" if text in _UNIQUE or text == "PREFIX" else "value")


def _legal(text: str, rule: Rule) -> str:
    return _NOT_DNS.sub("-", text.lower()) if rule == "dns-1123" else _NOT_DOCKER.sub("-", text)


def _is_legal(name: str, rule: Rule) -> bool:
    if rule == "dns-1123":
        return re.fullmatch(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?", name) is not None
    return re.fullmatch(r"[a-zA-Z0-9][a-zA-Z0-9_.-]+", name) is not None


def _shorten(parts: Sequence[_Part], limit: int, head: int) -> str:
    """The parts as one name of at most `limit` characters: values are cut, then what stands between, the last ones first.

    The first `head` characters and what is kept stay as they are.
    """
    texts = [part.text for part in parts]
    surplus = sum(map(len, texts)) - limit
    for kind in ("value", "literal"):
        for position in reversed(range(len(parts))):
            if surplus <= 0 or parts[position].kind != kind:
                continue
            before = sum(map(len, texts[:position]))
            untouched = max(0, min(len(texts[position]), head - before))
            cut = min(surplus, len(texts[position]) - untouched)
            texts[position] = texts[position][: len(texts[position]) - cut]
            surplus -= cut
    return "".join(texts)


@dataclass(frozen=True, slots=True)
class Claim:
    """What a project claims of a host's containers: those named by its prefix."""

    project_id: str
    prefix: str
    separator: str = "-"

    def covers(self, name: str) -> bool:
        """Whether the name is the prefix, or goes on after it with the separator."""
        return name == self.prefix or name.startswith(self.prefix + self.separator)


class Claims:
    """Many claims, asked about many names: an index by prefix instead of a walk over all of them."""

    def __init__(self, claims: Iterable[Claim]) -> None:
        self._by_prefix = {claim.prefix: claim for claim in claims}
        self._lengths = sorted({len(prefix) for prefix in self._by_prefix}, reverse=True)

    def owner_of(self, name: str) -> Claim | None:
        """The same as `owner_of(name, claims)`, of claims with prefixes that differ."""
        for length in self._lengths:
            claim = self._by_prefix.get(name[:length]) if length <= len(name) else None
            if claim is not None and claim.covers(name):
                return claim
        return None


def owner_of(name: str, claims: Iterable[Claim]) -> Claim | None:
    """The claim with the longest prefix that covers the container's name (without the engine's leading slash)."""
    covering = [claim for claim in claims if claim.covers(name)]
    return max(covering, key=lambda claim: len(claim.prefix), default=None)

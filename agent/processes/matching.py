"""Rules of type `name` and `cmdline`, compiled once and asked of every process: pure, and the collector's inner loop."""

import fnmatch
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from agent.processes.stat import COMM_LIMIT
from agent.wire.processes import Rule

_MAX_NAME_ARGUMENTS = 2
"""The program, or the script that an interpreter was started with, is one of the first two arguments."""


def compile_name(pattern: str) -> Callable[[str], bool]:
    """A test of the whole name, with the shell's `*` and `?` and nothing else of it (a `[` is a `[`)."""
    if not _has_wildcard(pattern):
        return pattern.__eq__
    # fnmatch's translation is linear in the name, however many stars there are.
    expression = re.compile(fnmatch.translate(pattern.replace("[", "[[]")))
    return lambda name: expression.match(name) is not None


def joined(raw_cmdline: bytes) -> bytes:
    """The arguments joined by one space."""
    return raw_cmdline.removesuffix(b"\0").replace(b"\0", b" ")


def full_name(comm: bytes, raw_cmdline: bytes, executable: Callable[[], str | None]) -> str:
    """The process's whole name.

    Where the kernel cut it (it keeps 15 bytes), it is the base name of the executable, or of one of the first two
    arguments (a script started through its `#!` line): the one that begins with what the kernel kept.
    """
    if len(comm) >= COMM_LIMIT:
        for candidate in _candidates(raw_cmdline, executable):
            if candidate.startswith(comm):
                return candidate.decode("utf-8", "replace")
    return comm.decode("utf-8", "replace")


def _candidates(raw_cmdline: bytes, executable: Callable[[], str | None]) -> Sequence[bytes]:
    arguments = raw_cmdline.split(b"\0", _MAX_NAME_ARGUMENTS)[:_MAX_NAME_ARGUMENTS]
    names = [argument.rsplit(b"/", 1)[-1].removesuffix(b":") for argument in arguments]
    path = executable()
    return [os.fsencode(path).rsplit(b"/", 1)[-1], *names] if path else names


@dataclass(frozen=True, slots=True)
class CmdlineRule:
    """A substring of the joined arguments."""

    name: str
    needle: bytes


@dataclass(frozen=True, slots=True)
class NameRule:
    """A test of the whole name; `literal` where it is a comparison."""

    name: str
    test: Callable[[str], bool]
    literal: bytes | None


@dataclass(frozen=True, slots=True)
class CompiledRules:
    """The rules of one project by how they are answered; `order` is the order they were given in."""

    names: tuple[NameRule, ...]
    cmdlines: tuple[CmdlineRule, ...]
    pidfiles: tuple[tuple[str, str], ...]
    ports: tuple[tuple[str, int], ...]
    order: tuple[str, ...]


def _name_rule(rule: Rule) -> NameRule:
    literal = None if _has_wildcard(rule.pattern) else rule.pattern.encode()
    return NameRule(rule.name, compile_name(rule.pattern), literal)


def _has_wildcard(pattern: str) -> bool:
    return "*" in pattern or "?" in pattern


def compile_rules(rules: Sequence[Rule]) -> CompiledRules:
    """Compile rules that the wire has validated."""
    return CompiledRules(
        names=tuple(_name_rule(r) for r in rules if r.type == "name"),
        cmdlines=tuple(CmdlineRule(r.name, r.pattern.encode()) for r in rules if r.type == "cmdline"),
        pidfiles=tuple((r.name, r.pattern) for r in rules if r.type == "pidfile"),
        ports=tuple((r.name, int(r.pattern)) for r in rules if r.type == "port"),
        order=tuple(r.name for r in rules),
    )

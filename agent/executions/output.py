"""An execution's output on disk: at most 16 MiB of it, the middle punched out, so that offsets stay true."""

import ctypes
import errno
import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from agent.wire.executions import OUTPUT_TAIL_BYTES, ExecutionLog

HEAD_BYTES = 1024 * 1024
CAP_BYTES = 16 * 1024 * 1024
SLICE_BYTES = 256 * 1024
_BLOCK = 4096
_KEEP_SIZE, _PUNCH_HOLE = 0x01, 0x02
"""Flags of fallocate(2), from linux/falloc.h."""


@dataclass(frozen=True, slots=True)
class Slice:
    """Bytes from `start` on, after `skipped` punched ones; `size` is the whole file's."""

    content: bytes
    start: int
    skipped: int
    size: int


def size_of(path: Path) -> int:
    """The file's length in bytes, holes included; 0 where it is gone."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


def bound(path: Path) -> None:
    """Give back the disk space of what lies between the first MiB and the last 15, in whole blocks."""
    excess = (size_of(path) - CAP_BYTES) // _BLOCK * _BLOCK
    if excess <= 0:
        return
    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        # A file system that can't do it (EOPNOTSUPP) keeps the whole output: no reason to fail the execution.
        _fallocate()(descriptor, _KEEP_SIZE | _PUNCH_HOLE, HEAD_BYTES, excess)
    finally:
        os.close(descriptor)


def tail(path: Path) -> str:
    """The last 64 KiB as text; where they can't be read, why."""
    start = max(0, size_of(path) - OUTPUT_TAIL_BYTES)
    try:
        return as_text(read_slice(path, start, OUTPUT_TAIL_BYTES).content)
    except OSError as error:
        return f"hoist: cannot read the output: {error.strerror}\n"


def read_log(path: Path, offset: int, *, ended: bool) -> ExecutionLog:
    """Up to 256 KiB from `offset`; a character that the slice would cut is left for the next one."""
    piece = read_slice(path, offset, SLICE_BYTES)
    content, last = piece.content, piece.start + len(piece.content) >= piece.size
    if not (ended and last):
        content = content[: len(content) - _cut_character(content)] or content
    following = piece.start + len(content)
    return ExecutionLog(
        output=as_text(content),
        next_offset=following,
        complete=ended and following >= piece.size,
        skipped_bytes=piece.skipped,
    )


def read_slice(path: Path, offset: int, length: int) -> Slice:
    """Read from `offset`, or from the end of the hole that it lies in."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return Slice(b"", offset, 0, 0)
    try:
        size = os.fstat(descriptor).st_size
        if offset >= size:
            return Slice(b"", offset, 0, size)
        start = _next_data(descriptor, offset, size)
        wanted = min(length, _next_hole(descriptor, start, size) - start)
        return Slice(os.pread(descriptor, wanted, start), start, start - offset, size)
    finally:
        os.close(descriptor)


def as_text(content: bytes) -> str:
    """Text that every JSON reader and database takes: what is no UTF-8, and NUL, becomes U+FFFD."""
    return content.decode(errors="replace").replace("\x00", "\ufffd")


def _cut_character(content: bytes) -> int:
    """How many bytes at the end begin a UTF-8 character that isn't complete."""
    for back in range(1, min(4, len(content)) + 1):
        byte = content[-back]
        if byte & 0xC0 == 0x80:
            continue
        length = 2 if byte >> 5 == 0b110 else 3 if byte >> 4 == 0b1110 else 4 if byte >> 3 == 0b11110 else 1
        return back if length > back else 0
    return 0


def _next_data(descriptor: int, offset: int, size: int) -> int:
    if size <= CAP_BYTES:
        return offset
    try:
        return os.lseek(descriptor, offset, os.SEEK_DATA)
    except OSError as error:
        return size if error.errno == errno.ENXIO else offset


def _next_hole(descriptor: int, start: int, size: int) -> int:
    if size <= CAP_BYTES or start >= size:
        return size
    try:
        return os.lseek(descriptor, start, os.SEEK_HOLE)
    except OSError:
        return size


@cache
def _fallocate() -> "ctypes._NamedFuncPointer":
    function = ctypes.CDLL(None, use_errno=True).fallocate
    function.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_longlong, ctypes.c_longlong]
    return function

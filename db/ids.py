"""Keys: UUIDv7 (RFC 9562), which sort by the time they were made, so that indexes grow at one end."""

import os
import re
import threading
import time
from uuid import UUID

_lock = threading.Lock()
_last = 0


def new_id() -> str:
    """A new UUIDv7 as text: 48 bits of Unix milliseconds, then 74 random bits. This process's are strictly rising."""
    global _last  # noqa: PLW0603 (the one id before this one)
    value = (time.time_ns() // 1_000_000) << 80 | int.from_bytes(os.urandom(10), "big")
    value &= ~(0xF << 76)
    value |= 0x7 << 76
    value &= ~(0x3 << 62)
    value |= 0x2 << 62
    with _lock:
        if value <= _last:  # the same millisecond (or a clock that was set back)
            value = _last + 1 + int.from_bytes(os.urandom(4), "big")
        _last = value
    return str(UUID(int=value))


def as_id(value: bytes) -> str:
    """16 bytes in a key's shape, for what is kept like one and is none: a hash."""
    digits = value.hex()
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


_UUID = re.compile(
    r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$", re.IGNORECASE | re.ASCII
)


def is_id(text: str) -> bool:
    """Whether the text has a key's shape: only then may it be compared with an id column."""
    return _UUID.fullmatch(text) is not None

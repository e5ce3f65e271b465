"""How a deploy task goes through its clients: waves, parallelism, how many failures are too many, what stable means."""

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StringConstraints

from agent.wire.base import Request

_SHARE = re.compile(r"^(100|[1-9][0-9]?)%$")


def _share(value: str) -> str:
    if not _SHARE.fullmatch(value):
        raise ValueError('a share is written "1%" to "100%"')
    return value


Share = Annotated[str, StringConstraints(max_length=4), AfterValidator(_share)]
WaveSize = Annotated[int, Field(ge=1, le=1_000_000)] | Share
"""A count of clients, or a share of the whole selection, rounded up."""

Threshold = Annotated[int, Field(ge=0, le=1_000_000)] | Share
FailureStrategy = Literal["continue", "abort"]

DEFAULT_WAVES: tuple[WaveSize, ...] = (1, "25%", "100%")


class Strategy(Request):
    """`max_failures` is exceeded, not reached, before the task stops; times are in seconds."""

    waves: Annotated[tuple[WaveSize, ...], Field(min_length=1, max_length=100)] = DEFAULT_WAVES
    max_parallel: Annotated[int, Field(ge=1, le=1000)] = 25
    max_failures: Threshold = 0
    stable_for_s: Annotated[float, Field(ge=0, le=3600, allow_inf_nan=False)] = 30
    health_timeout_s: Annotated[float, Field(ge=1, le=86_400, allow_inf_nan=False)] = 300

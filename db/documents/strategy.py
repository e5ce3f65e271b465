"""How a deploy task goes through its clients: waves, parallelism, how many failures are too many, what stable means."""

import re
from collections.abc import Callable
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, StrictBool, WithJsonSchema, model_validator

from agent.wire.base import Request

_SHARE = re.compile(r"^(100|[1-9][0-9]?)%$")


MOST = 1_000_000


def _count_or_share(least: int) -> Callable[[object], object]:
    """One clear sentence for whatever else it is."""

    def check(value: object) -> object:
        if isinstance(value, int) and not isinstance(value, bool) and least <= value <= MOST:
            return value
        if isinstance(value, str) and _SHARE.fullmatch(value):
            return value
        raise ValueError(f'must be a count of at least {least}, or a share, "1%" to "100%"')

    return check


def _schema(least: int) -> WithJsonSchema:
    count = {"type": "integer", "minimum": least, "maximum": MOST}
    return WithJsonSchema({"anyOf": [count, {"type": "string", "pattern": _SHARE.pattern}]})


WaveSize = Annotated[int | str, BeforeValidator(_count_or_share(1)), _schema(1)]
"""A count of clients, or a share of the whole selection, rounded up."""

Threshold = Annotated[int | str, BeforeValidator(_count_or_share(0)), _schema(0)]
Seconds = Annotated[float, Field(strict=True, ge=0, allow_inf_nan=False)]
FailureStrategy = Literal["continue", "pause", "abort"]
AutoRollback = Literal["off", "failed", "wave", "all"]
OfflinePolicy = Literal["fail", "skip", "wait"]

DEFAULT_WAVES: tuple[WaveSize, ...] = (1, "25%", "100%")


class Strategy(Request):
    """`max_failures` is exceeded, not reached, before the task stops; times are in seconds.

    canary_percent: that share of the selection (rounded up) is a wave of its own, before the others; after it the
    deploy task waits `canary_duration_s`, then it is promoted by itself (`canary_auto_promote`) or by a person.
    pause_after: waves (counted from 1, the canary's among them) after which a person has to say how it goes on.
    max_failures_per_wave: the same as `max_failures`, for each wave and of its clients.
    spread_by: a label; clients that have the same value of it never are in one wave.
    regression_percent: a client is worse where its processes use so much more CPU or memory than before (0: nobody is);
    where `regression_min_clients` are, that counts as too many failures do.
    offline: what becomes of a client whose agent can't be reached at its turn; `wait`: asked for `offline_wait_s`.
    """

    waves: Annotated[tuple[WaveSize, ...], Field(min_length=1, max_length=100)] = DEFAULT_WAVES
    max_parallel: Annotated[int, Field(strict=True, ge=1, le=1000)] = 25
    max_failures: Threshold = 0
    max_failures_per_wave: Threshold | None = None
    stable_for_s: Annotated[Seconds, Field(le=3600)] = 30
    health_timeout_s: Annotated[float, Field(strict=True, ge=1, le=86_400, allow_inf_nan=False)] = 300
    canary_percent: Annotated[int, Field(strict=True, ge=1, le=100)] | None = None
    canary_duration_s: Annotated[Seconds, Field(le=604_800)] | None = None
    canary_auto_promote: StrictBool = False
    pause_after: Annotated[
        tuple[Annotated[int, Field(strict=True, ge=1, le=1000)], ...], Field(max_length=1000)
    ] = ()
    regression_percent: Annotated[int, Field(strict=True, ge=0, le=10_000)] = 50
    regression_min_clients: Annotated[int, Field(strict=True, ge=1, le=MOST)] = 3
    spread_by: Annotated[str, Field(min_length=1, max_length=63)] | None = None
    offline: OfflinePolicy = "fail"
    offline_wait_s: Annotated[Seconds, Field(le=86_400)] = 3600

    @model_validator(mode="after")
    def _has_a_canary(self) -> Self:
        if self.canary_percent is None and (self.canary_duration_s is not None or self.canary_auto_promote):
            raise ValueError("canary_duration_s and canary_auto_promote need canary_percent")
        if self.canary_auto_promote and self.canary_duration_s is None:
            raise ValueError(
                "canary_auto_promote needs canary_duration_s: how long the canary is watched first"
            )
        return self

    @property
    def sizes(self) -> tuple[WaveSize, ...]:
        """The waves' sizes, the canary's first."""
        return self.waves if self.canary_percent is None else (f"{self.canary_percent}%", *self.waves)

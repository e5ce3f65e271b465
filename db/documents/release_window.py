"""When an environment may be deployed to: days and times in a time zone."""

import re
from typing import Annotated, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, Field, StrictBool, StringConstraints, model_validator

from agent.wire.base import Request

_TIME = re.compile(r"^([01][0-9]|2[0-3]):[0-5][0-9]$")


def _zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError("no time zone of IANA's has that name; one that has: Europe/Berlin") from None
    return name


def _time(text: str) -> str:
    if not _TIME.fullmatch(text):
        raise ValueError('a time is written "HH:MM", 00:00 to 23:59')
    return text


TimeOfDay = Annotated[str, StringConstraints(max_length=5), AfterValidator(_time)]


class ReleaseWindow(Request):
    """`allowed_days`: 1 = Monday … 7, the day on which the window begins; an end before the start is the next day."""

    enabled: StrictBool = True
    timezone: Annotated[str, StringConstraints(min_length=1, max_length=64), AfterValidator(_zone)] = "UTC"
    allowed_days: Annotated[
        tuple[Annotated[int, Field(strict=True, ge=1, le=7)], ...], Field(min_length=1, max_length=7)
    ] = (1, 2, 3, 4, 5, 6, 7)
    start_time: TimeOfDay = "00:00"
    end_time: TimeOfDay = "00:00"

    @model_validator(mode="after")
    def _days_are_unique(self) -> Self:
        if len(set(self.allowed_days)) != len(self.allowed_days):
            raise ValueError("a day is in allowed_days twice")
        return self

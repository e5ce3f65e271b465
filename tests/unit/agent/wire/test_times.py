"""Times on the wire: aware, in UTC, and refused where they can't be."""

import pytest
from pydantic import TypeAdapter, ValidationError

from agent.wire.base import UtcDatetime

TIMES = TypeAdapter(UtcDatetime)


@pytest.mark.parametrize(
    "text", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "2026-01-01T00:00:00"]
)
def test_time_that_is_not_in_utcs_range_or_naive_is_refused(text):
    with pytest.raises(ValidationError):
        TIMES.validate_python(text)


def test_time_is_written_in_utc():
    assert TIMES.dump_json(TIMES.validate_python("2026-01-01T02:00:00+02:00")) == b'"2026-01-01T00:00:00Z"'

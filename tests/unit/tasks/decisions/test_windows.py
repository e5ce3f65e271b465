from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from db.documents.release_window import ReleaseWindow
from tasks.decisions.windows import opens_at

BERLIN = ZoneInfo("Europe/Berlin")
NIGHT = ReleaseWindow(
    timezone="Europe/Berlin", allowed_days=(1, 2, 3, 4), start_time="22:00", end_time="02:00"
)


def berlin(*when: int) -> datetime:
    return datetime(*when, tzinfo=BERLIN).astimezone(UTC)


@pytest.mark.parametrize(
    ("now", "opens"),
    [
        (berlin(2030, 1, 7, 21, 59), berlin(2030, 1, 7, 22, 0)),  # a Monday
        (berlin(2030, 1, 7, 22, 0), None),
        (berlin(2030, 1, 8, 1, 59), None),  # Monday's window, on Tuesday
        (berlin(2030, 1, 8, 2, 0), berlin(2030, 1, 8, 22, 0)),
        (berlin(2030, 1, 11, 1, 0), None),  # Thursday's window, on Friday
        (berlin(2030, 1, 11, 22, 30), berlin(2030, 1, 14, 22, 0)),  # Friday is no day of it
        (berlin(2030, 1, 13, 1, 0), berlin(2030, 1, 14, 22, 0)),
    ],
)
def test_window_over_midnight_is_of_the_day_it_begins_on(now, opens):
    assert opens_at(NIGHT, now) == opens


def test_no_window_and_one_that_is_off_are_always_open():
    assert opens_at(None, berlin(2030, 1, 6, 12, 0)) is None
    assert opens_at(NIGHT.model_copy(update={"enabled": False}), berlin(2030, 1, 6, 12, 0)) is None


def test_equal_start_and_end_are_the_whole_day():
    sundays = ReleaseWindow(allowed_days=(7,), start_time="00:00", end_time="00:00")
    assert opens_at(sundays, datetime(2030, 1, 6, 23, 59, tzinfo=UTC)) is None
    assert opens_at(sundays, datetime(2030, 1, 7, 0, 0, tzinfo=UTC)) == datetime(2030, 1, 13, tzinfo=UTC)


def test_clocks_that_are_put_forward_shorten_the_night_not_the_window_s_ends():
    spring = ReleaseWindow(timezone="Europe/Berlin", start_time="01:30", end_time="03:30")
    assert opens_at(spring, berlin(2030, 3, 31, 1, 29)) == berlin(2030, 3, 31, 1, 30)
    assert opens_at(spring, datetime(2030, 3, 31, 1, 29, tzinfo=UTC)) is None  # 03:29 there
    assert opens_at(spring, datetime(2030, 3, 31, 1, 30, tzinfo=UTC)) == berlin(2030, 4, 1, 1, 30)


@given(
    st.integers(0, 315_000_000).map(lambda s: datetime(2024, 1, 1, tzinfo=UTC) + timedelta(seconds=s)),
    st.sampled_from(["UTC", "Europe/Berlin", "America/St_Johns", "Pacific/Apia", "Australia/Lord_Howe"]),
    st.sets(st.integers(1, 7), min_size=1),
    st.integers(0, 1439),
    st.integers(0, 1439),
)
def test_it_opens_when_it_says_and_not_before(now, zone, days, start, end):
    window = ReleaseWindow(
        timezone=zone,
        allowed_days=tuple(sorted(days)),
        start_time=f"{start // 60:02d}:{start % 60:02d}",
        end_time=f"{end // 60:02d}:{end % 60:02d}",
    )
    opens = opens_at(window, now)
    if opens is None:
        return
    assert now < opens <= now + timedelta(days=8, hours=2)
    assert opens_at(window, opens) is None
    halfway = now + (opens - now) / 2
    assert opens_at(window, halfway) == opens

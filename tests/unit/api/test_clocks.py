"""A client's clock that is off is put right, and its reports stay in order."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.ingest.clocks import Clocks, read_date

T0 = datetime(2030, 1, 1, tzinfo=UTC)
WEB = ("agent", "web-01")


def at(seconds):
    return T0 + timedelta(seconds=seconds)


def right_s(clocks, *, off_s, made_s, received_s, way_s=0.1, whose=WEB):
    """When it was made, as it is put right; all by the true clock, from which the client's is `off_s`."""
    sent = at(received_s - way_s + off_s)
    right, _ = clocks.put_right(whose, at(made_s + off_s), sent, at(received_s))
    return (right - T0).total_seconds()


@pytest.mark.parametrize("off_s", [-86_400, -600, -15, 0, 15, 600])
def test_time_of_a_report_is_the_api_s_whatever_its_client_s_clock_says(off_s):
    clocks = Clocks()
    for made_s, received_s in ((0, 0.1), (10, 100), (99, 101)):
        assert abs(right_s(clocks, off_s=off_s, made_s=made_s, received_s=received_s) - made_s) <= 0.1


@pytest.mark.parametrize(
    ("off_s", "is_off"), [(-600, True), (-1, False), (0, False), (1, False), (600, True)]
)
def test_clock_is_said_to_be_off_even_where_the_report_s_time_is_as_it_was(off_s, is_off):
    assert Clocks().put_right(WEB, at(off_s), at(off_s), at(0)) == (at(min(off_s, 0) * (not is_off)), is_off)


def test_clock_that_is_hardly_off_is_believed():
    assert right_s(Clocks(), off_s=-1.5, made_s=0, received_s=10) == -1.5


def test_clock_that_was_put_right_is_believed_again():
    clocks = Clocks()
    assert abs(right_s(clocks, off_s=-600, made_s=0, received_s=1)) <= 0.1
    assert right_s(clocks, off_s=0, made_s=60, received_s=61) == 60


def test_each_client_has_a_clock_of_its_own():
    clocks = Clocks()
    assert abs(right_s(clocks, off_s=-600, made_s=0, received_s=1)) <= 0.1
    assert right_s(clocks, off_s=0, made_s=0, received_s=1, whose=("agent", "web-02")) == 0


@given(
    st.floats(-100, 100),
    st.lists(st.tuples(st.floats(0, 5), st.floats(0.01, 9)), min_size=2, max_size=20),
)
def test_what_a_client_said_in_order_stays_in_order_however_long_each_report_takes(off_s, steps):
    clocks, made_s, received_s, before = Clocks(), 0.0, 0.0, None
    for passed_s, way_s in steps:
        made_s += passed_s
        received_s = max(made_s, received_s) + way_s
        right = right_s(clocks, off_s=off_s, made_s=made_s, received_s=received_s, way_s=way_s)
        assert right <= received_s + 1e-5
        assert before is None or right >= before
        before = right


@pytest.mark.parametrize("header", [None, "", "yesterday", "Tue, 99 Jan 2030 00:00:00 GMT", "\xff"])
def test_header_that_says_no_time_is_none(header):
    assert read_date(header) is None


def test_header_is_read_to_the_middle_of_its_second():
    assert read_date("Tue, 01 Jan 2030 00:00:00 GMT") == at(0.5)
    assert read_date("Tue, 01 Jan 2030 00:00:00 -0000") == at(0.5)


@pytest.mark.parametrize("said", [datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)])
def test_time_at_the_end_of_all_times_breaks_nothing(said):
    for off in (timedelta(days=700_000), timedelta(days=-700_000)):
        Clocks().put_right(WEB, said, T0 + off, T0)

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.decisions.thresholds import Course, decide_course, exceeds

THRESHOLDS = st.integers(0, 50) | st.integers(1, 100).map(lambda share: f"{share}%")


@pytest.mark.parametrize(
    ("failed", "total", "threshold", "course"),
    [
        (0, 10, 0, Course.GO_ON),
        (1, 10, 0, Course.ABORT),
        (2, 10, 2, Course.GO_ON),
        (3, 10, 2, Course.ABORT),
        (1, 10, "10%", Course.GO_ON),
        (2, 10, "10%", Course.ABORT),
        (1, 9, "10%", Course.ABORT),
        (10, 10, "100%", Course.GO_ON),
    ],
)
def test_a_threshold_has_to_be_exceeded(failed: int, total: int, threshold, course: Course):
    assert decide_course(failed, total, threshold, "abort") is course


def test_continue_goes_on_and_says_so():
    assert decide_course(9, 10, 0, "continue") is Course.GO_ON_ANYWAY
    assert decide_course(0, 10, 0, "continue") is Course.GO_ON


@given(st.integers(1, 500), THRESHOLDS, st.data())
def test_more_failures_never_make_it_better(total: int, threshold, data):
    failed = data.draw(st.integers(0, total))
    more = data.draw(st.integers(failed, total))
    assert exceeds(more, total, threshold) or not exceeds(failed, total, threshold)


@given(st.integers(1, 500), THRESHOLDS)
def test_no_failure_never_stops_anything(total: int, threshold):
    assert not exceeds(0, total, threshold)

import time

import pytest

from agent.patterns import PatternError, check_pattern, search


def test_first_group_or_the_whole_match():
    assert search(r"v(\d+\.\d+)", "app v1.5 (v2.0)") == "1.5"
    assert search(r"\d+\.\d+", "app 1.5") == "1.5"
    assert search(r"(a)|b", "b") == ""
    assert search(r"x", "abc") is None
    assert search(r"größe (\d+)", "größe 12") == "12"


@pytest.mark.parametrize("pattern", ["(a+)+$b", r"version (\d+\.?)+$", "(.*)*x", "(a|aa)+$"])
def test_pattern_that_would_take_for_ever_does_not(pattern):
    began = time.monotonic()
    search(pattern, "version " + "a1." * 20_000)
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("pattern", ["(", "(?=a)", r"(a)\1", "a" * 200 + "{1000}{1000}"])
def test_what_re2_can_t_read_is_refused(pattern):
    with pytest.raises(PatternError, match="not a regular expression"):
        check_pattern(pattern)

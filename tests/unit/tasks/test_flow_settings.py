"""Settings of the flows: a wrong one is refused by its name."""

import pytest

from tasks.errors import PermanentTaskError
from tasks.settings import RolloutSettings

NUMBERS = ("HOIST_RETRY_WINDOW_S", "HOIST_LEASE_TTL_S", "HOIST_LEASE_RENEW_S", "HOIST_SHARD_ABOVE")


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("text", ["abc", "-1", "nan", "inf", "1e300", "60 s"])
def test_what_is_no_number_is_refused_in_one_line_that_names_the_setting(name, text):
    with pytest.raises(PermanentTaskError, match=f"^cannot use {name}: it is not a number from .*$"):
        RolloutSettings.from_env({name: text})


@pytest.mark.parametrize("name", ["HOIST_LEASE_TTL_S", "HOIST_LEASE_RENEW_S"])
def test_lease_that_lasts_no_time_is_refused(name):
    with pytest.raises(PermanentTaskError, match=name):
        RolloutSettings.from_env({name: "0"})


def test_part_of_a_client_is_refused():
    with pytest.raises(PermanentTaskError, match="HOIST_SHARD_ABOVE: it is not a whole number"):
        RolloutSettings.from_env({"HOIST_SHARD_ABOVE": "2.5"})


def test_numbers_are_taken_and_what_is_empty_is_the_default():
    assert RolloutSettings.from_env(dict.fromkeys(NUMBERS, "")) == RolloutSettings()
    told = RolloutSettings.from_env(dict(zip(NUMBERS, ("0", "6", "1.5", "0"), strict=True)))
    assert (told.retry_window_s, told.lease_ttl_s, told.lease_renew_s, told.shard_above) == (0, 6, 1.5, 0)

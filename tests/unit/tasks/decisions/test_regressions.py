"""Whether a version uses more than the one before it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from db.documents.usage import Usage
from tasks.decisions.regressions import NOISE, Compared, changes_of, find_regression


def client(name="a", before=(10.0, 100.0), after=(10.0, 100.0), restarts=(0, 0)):
    first = Usage(cpu_percent=before[0], memory_mb=before[1])
    return Compared(name, first, Usage(cpu_percent=after[0], memory_mb=after[1]), *restarts)


def worse(*clients, percent=50):
    return {(one.client_id, one.figure) for one in changes_of(clients, percent) if one.worse}


@pytest.mark.parametrize(
    ("before", "after", "restarts", "figures"),
    [
        ((10, 100), (15, 150), (0, 0), set()),
        ((10, 100), (15.1, 150.1), (0, 0), {"cpu", "memory"}),
        ((10, 100), (5, 50), (0, 0), set()),
        ((0.1, 2), (5.0, 18), (0, 0), set()),
        ((0.0, 2), (5.1, 18.1), (0, 0), {"cpu", "memory"}),
        ((None, 100), (90, 100), (0, 0), set()),
        ((10, None), (10, 900), (0, 0), set()),
        ((10, 100), (None, None), (0, 0), set()),
        ((10, 100), (10, 100), (0, 1), {"restarts"}),
        ((10, 100), (10, 100), (2, 3), set()),
        ((10, 100), (10, 100), (2, 4), {"restarts"}),
    ],
)
def test_figure_is_worse_beyond_the_threshold_and_noise(before, after, restarts, figures):
    found = worse(client(before=before, after=after, restarts=restarts))
    assert {figure for _, figure in found} == figures


def test_it_takes_so_many_clients_that_are_worse_in_the_same_figure():
    more = [client(name, after=(10, 300)) for name in "ab"] + [client("c", after=(90, 100)), client("d")]
    assert find_regression(changes_of(more, 50), 50, 3) is None
    found = find_regression(changes_of([*more, client("e", after=(10, 200))], 50), 50, 3)
    assert found.clients == {"a", "b", "e"}
    assert found.reason == (
        "3 of 5 compared clients have more memory than before, by over 50 %: 100.0 → 266.7 MB on average"
    )


def test_nobody_compared_is_no_regression():
    assert find_regression([], 50, 1) is None


usages = st.builds(Usage, cpu_percent=st.none() | st.floats(0, 1e4), memory_mb=st.none() | st.floats(0, 1e6))
compared = st.builds(
    Compared, st.text("abcdef", min_size=1, max_size=3), usages, usages, st.integers(0, 9), st.integers(0, 9)
)


@given(st.lists(compared, max_size=20), st.integers(1, 500), st.integers(1, 5))
def test_whoever_is_worse_really_uses_more_and_a_lower_threshold_finds_no_fewer(clients, percent, least):
    changes = changes_of(clients, percent)
    for one in changes:
        assert not one.worse or one.after - one.before > NOISE[one.figure]
    strict = sum(one.worse for one in changes)
    assert sum(one.worse for one in changes_of(clients, percent * 2)) <= strict
    found = find_regression(changes, percent, least)
    most = max((sum(one.worse and one.figure == figure for one in changes) for figure in NOISE), default=0)
    assert (found is not None) == (most >= least)

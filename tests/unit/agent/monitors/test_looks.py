"""When a watch looks: by its interval, soon after an exit, and within a bound whatever happens."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from agent.monitors.looks import BURST, CONFIRM_S, GATHER_S, REFILL_S, SHORTEST_GAP_S, Look, Looks
from tasks.decisions.observed import EXIT_WAITS_S


def run(looks: Looks, until: float, notices: list[float] = ()) -> list[tuple[float, Look]]:
    """Every look until then, with what is noticed meanwhile."""
    made, pending, now = [], sorted(notices), 0.0
    while True:
        now = max(now, looks.next_at())
        while pending and pending[0] <= now:
            looks.noticed(pending[0])
            now = max(pending.pop(0), looks.next_at())
        if now > until:
            return made
        made.append((now, looks.take(now)))


def test_first_look_is_at_once_and_the_others_on_a_grid_that_is_its_own():
    made = run(Looks(60, 0.0, phase=0.25), until=200)
    assert [at for at, _ in made] == [0.0, 45.0, 105.0, 165.0]
    assert all(look.by_interval for _, look in made)


def test_exit_is_looked_at_at_once_then_less_and_less_often_and_confirmed_after_a_second():
    made = run(Looks(60, 0.0), until=59, notices=[10.0])[1:]
    first = 10 + GATHER_S
    assert [round(at - first, 6) for at, _ in made] == [0.0, 0.5, CONFIRM_S, 2.0, 4.0, 8.0]
    assert [look.confirms for _, look in made] == [False, False, True, False, False, False]
    assert [look.followed for _, look in made] == [True, True, True, True, True, False]


def test_what_is_back_within_a_second_is_seen_before_it_is_called_an_exit():
    made = run(Looks(60, 0.0), until=59, notices=[10.0])[1:]
    confirmed_at = next(at for at, look in made if look.confirms)
    assert 0.9 < confirmed_at - 10.0 <= 1.0
    assert confirmed_at - made[0][0] < EXIT_WAITS_S


def test_nothing_follows_once_it_is_settled():
    looks = Looks(60, 0.0)
    looks.take(0.0)
    looks.noticed(10.0)
    looks.take(looks.next_at())
    looks.settled()
    assert looks.next_at() == 60.0


def test_what_is_noticed_during_a_look_is_not_settled_by_it():
    looks = Looks(60, 0.0)
    looks.take(0.0)
    looks.noticed(0.01)
    looks.settled()
    assert looks.next_at() < 1


def test_many_exits_in_a_moment_are_one_look():
    made = run(Looks(60, 0.0), until=10.2, notices=[10 + n / 10_000 for n in range(100)])
    assert len(made) == 2


@given(st.lists(st.floats(0, 600), max_size=400), st.floats(0, 0.8))
def test_looks_are_bounded_whatever_ends_and_none_is_lost(notices, phase):
    made = run(Looks(60, 0.0, phase), until=700, notices=notices)
    early = [at for at, look in made if not look.by_interval]
    times = [at for at, _ in made]
    for one, next_one in pairwise(early):
        assert next_one - one >= SHORTEST_GAP_S - 1e-6
    for number, at in enumerate(early):
        assert len([other for other in early[: number + 1] if other > at - 60]) <= BURST + 60 / REFILL_S + 1
    for notice in notices:
        assert any(notice <= at <= notice + 60.1 for at in times)

import pytest
from hypothesis import given
from hypothesis import strategies as st

from db.documents.strategy import DEFAULT_WAVES
from tasks.decisions.waves import cut_into_waves, wave_size

SIZES = st.lists(
    st.integers(1, 40) | st.integers(1, 100).map(lambda share: f"{share}%"), min_size=1, max_size=8
)
CLIENTS = st.integers(0, 300).map(lambda count: [f"c{number}" for number in range(count)])


@pytest.mark.parametrize(
    ("count", "sizes", "lengths"),
    [
        (1, DEFAULT_WAVES, [1]),
        (2, DEFAULT_WAVES, [1, 1]),
        (8, DEFAULT_WAVES, [1, 2, 5]),
        (600, DEFAULT_WAVES, [1, 150, 449]),
        (10, (3,), [3, 3, 3, 1]),
        (10, ("33%",), [4, 4, 2]),
        (5, (1, "20%"), [1, 1, 1, 1, 1]),
        (3, (100,), [3]),
        (0, (1,), []),
    ],
)
def test_waves_are_cut_as_the_sizes_say(count: int, sizes, lengths: list[int]):
    assert [len(wave) for wave in cut_into_waves([f"c{i}" for i in range(count)], sizes)] == lengths


@given(CLIENTS, SIZES)
def test_every_client_is_in_exactly_one_wave_in_its_order(clients: list[str], sizes):
    waves = cut_into_waves(clients, sizes)
    assert [client for wave in waves for client in wave] == clients
    assert all(waves)


@given(CLIENTS, SIZES)
def test_each_wave_but_the_last_is_as_large_as_its_size_says(clients: list[str], sizes):
    waves = cut_into_waves(clients, sizes)
    wanted = [wave_size(sizes[min(index, len(sizes) - 1)], len(clients)) for index in range(len(waves))]
    assert [len(wave) for wave in waves[:-1]] == wanted[:-1]
    assert not waves or len(waves[-1]) <= wanted[-1]


@given(st.integers(1, 100), st.integers(1, 10_000))
def test_a_share_is_rounded_up_and_never_nothing(share: int, total: int):
    size = wave_size(f"{share}%", total)
    assert size >= 1
    assert (size - 1) * 100 < share * total <= size * 100


@given(CLIENTS, SIZES, st.integers(1, 5))
def test_two_of_a_group_are_never_in_one_wave(clients: list[str], sizes, members: int):
    groups = {client: f"g{number // members}" for number, client in enumerate(clients) if number % 7}
    waves = cut_into_waves(clients, sizes, groups)
    assert sorted(client for wave in waves for client in wave) == sorted(clients)
    assert all(waves)
    for wave in waves:
        inside = [groups[client] for client in wave if client in groups]
        assert len(inside) == len(set(inside))


def test_spreading_takes_the_next_of_another_group():
    groups = {"a1": "a", "a2": "a", "b1": "b", "b2": "b"}
    assert cut_into_waves(["a1", "a2", "b1", "b2"], ("50%",), groups) == (("a1", "b1"), ("a2", "b2"))

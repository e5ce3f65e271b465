import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.processes.stat import parse_stat

TAIL = (
    b" S 7 42 41 34816 -1 4194304 102 0 1 0 30 12 0 0 20 0 1 0 274428 3133440 364 18446744073709551615 1 1\n"
)


@given(st.binary(max_size=15))
def test_any_name_is_parsed(comm):
    stat = parse_stat(b"42 (" + comm + b")" + TAIL)
    assert (stat.pid, stat.comm, stat.state, stat.ppid, stat.session) == (42, comm, "S", 7, 41)
    assert (stat.cpu_ticks, stat.start_ticks, stat.rss_pages, stat.tty) == (42, 274428, 364, 34816)


@pytest.mark.parametrize("raw", [b"", b"42", b"42 (a", b"42 (a) S 1", b") ("])
def test_anything_else_is_refused(raw):
    with pytest.raises(ValueError, match="cannot parse stat"):
        parse_stat(raw)


@pytest.mark.parametrize(
    ("state", "status"),
    [
        ("R", "running"),
        ("S", "sleeping"),
        ("D", "disk_sleep"),
        ("T", "stopped"),
        ("t", "stopped"),
        ("Z", "zombie"),
        ("I", "idle"),
    ],
)
def test_states_in_the_words_of_the_wire(state, status):
    assert parse_stat(b"42 (a)" + TAIL.replace(b" S ", f" {state} ".encode(), 1)).status == status

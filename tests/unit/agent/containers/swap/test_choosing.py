"""Which containers a swap is about."""

from typing import Any

import pytest

from agent.containers.details import as_nanoseconds
from agent.containers.swap.choosing import Own, in_the_way, kept_of, to_prune, wanted_bindings
from agent.wire.containers import DeployConfig


def own(container_id: str, state: str = "exited", **fields: Any) -> Own:
    values = {"version": "1.0", "execution_id": "e0", "finished_ns": 0, **fields}
    return Own(container_id=container_id, name=f"shop-{container_id}", state=state, **values)


def config(*ports: tuple[int, int | None, str, str], networks: tuple[str, ...] = ()) -> DeployConfig:
    names = ("container_port", "host_port", "host_ip", "protocol")
    return DeployConfig.model_validate(
        {
            "image": "shop:1",
            "ports": [dict(zip(names, port, strict=True)) for port in ports],
            "networks": [{"name": name} for name in networks],
        }
    )


def test_port_that_the_engine_chooses_is_not_wanted():
    both = config((80, 8080, "0.0.0.0", "tcp"), (81, None, "0.0.0.0", "tcp"))
    assert wanted_bindings(both) == {("0.0.0.0", 8080, "tcp")}


@pytest.mark.parametrize(
    ("wanted", "has", "expected"),
    [
        (("0.0.0.0", 80, "tcp"), ("0.0.0.0", 80, "tcp"), True),
        (("127.0.0.1", 80, "tcp"), ("", 80, "tcp"), True),
        (("::", 80, "tcp"), ("10.0.0.1", 80, "tcp"), True),
        (("127.0.0.1", 80, "tcp"), ("127.0.0.1", 80, "tcp"), True),
        (("127.0.0.1", 80, "tcp"), ("127.0.0.2", 80, "tcp"), False),
        (("0.0.0.0", 80, "tcp"), ("0.0.0.0", 80, "udp"), False),
        (("0.0.0.0", 80, "tcp"), ("0.0.0.0", 81, "tcp"), False),
    ],
)
def test_previous_one_is_in_the_way_where_it_has_the_same_port_at_an_address_in_common(wanted, has, expected):
    address, port, protocol = wanted
    previous = [own("a", "running", bindings=frozenset({has}))]
    assert in_the_way(config((8080, port, address, protocol)), previous) is expected


def test_two_on_the_hosts_network_are_in_each_others_way():
    on_host = own("a", "running", host_network=True)
    assert in_the_way(config(networks=("host",)), [on_host])
    assert not in_the_way(config(networks=("front",)), [on_host])
    assert not in_the_way(config(networks=("host",)), [own("a", "running")])


def test_nobody_is_in_the_way_of_the_first():
    assert not in_the_way(config((80, 80, "0.0.0.0", "tcp"), networks=()), [])


def test_kept_one_is_the_stopped_one_of_the_version_that_ended_last():
    found = [
        own("old", finished_ns=1),
        own("new", finished_ns=3),
        own("other", version="1.1", finished_ns=4),
        own("runs", "running", finished_ns=5),
        own("never", "created", finished_ns=6),
    ]
    kept = kept_of("1.0", found)
    assert kept is not None
    assert kept.container_id == "new"
    assert kept_of("2.0", found) is None


@pytest.mark.parametrize(("keep", "pruned"), [(0, "bac"), (1, "ba"), (2, "a"), (3, ""), (10, "")])
def test_all_but_the_last_ones_that_ended_are_pruned(keep, pruned):
    found = [own("a", finished_ns=1), own("b", finished_ns=2), own("c", finished_ns=3), own("n", "running")]
    assert {one.container_id for one in to_prune(found, "n", keep)} == set(pruned)


def test_what_never_ran_is_pruned_and_what_runs_or_is_new_is_not():
    states = ("created", "dead", "running", "paused", "restarting")
    found = [own(state, state) for state in states] + [own("new", "exited")]
    assert [one.container_id for one in to_prune(found, "new", 10)] == ["created", "dead"]


def test_end_is_compared_as_a_time_though_the_engine_trims_its_zeros():
    """As text ".5Z" is after ".5000001Z", and ".1Z" after ".123Z"."""
    texts = ["00.123Z", "00.1Z", "00.5Z", "00.500000001Z", "00Z", "00.500000002Z"]
    found = [own(text, finished_ns=as_nanoseconds(f"2026-01-01T00:00:{text}")) for text in texts]
    kept = kept_of("1.0", found)
    assert kept is not None
    assert kept.container_id == "00.500000002Z"
    order = ["00Z", "00.1Z", "00.123Z", "00.5Z", "00.500000001Z", "00.500000002Z"]
    for keep in range(len(order)):
        pruned = {one.container_id for one in to_prune(found, "n", keep)}
        assert pruned == set(order[: len(order) - keep])


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [
        (None, 0),
        ("", 0),
        ("0001-01-01T00:00:00Z", 0),
        ("1970-01-01T00:00:01Z", 10**9),
        ("1970-01-01T00:00:01.5Z", 1_500_000_000),
        ("1970-01-01T00:00:01.000000001Z", 1_000_000_001),
        ("1970-01-01T01:00:01.25+01:00", 1_250_000_000),
    ],
)
def test_engines_time_is_read_to_the_nanosecond(text, nanoseconds):
    assert as_nanoseconds(text) == nanoseconds

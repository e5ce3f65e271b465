import itertools

from hypothesis import given
from hypothesis import strategies as st

from tasks.decisions.ordering import is_downgrade, version_key

VERSIONS = st.from_regex(r"\A[A-Za-z0-9][A-Za-z0-9._+~:-]{0,20}\Z") | st.builds(
    ".".join,
    st.lists(
        st.integers(0, 30).map(str) | st.sampled_from(["rc1", "a2", "b", "dev"]), min_size=1, max_size=4
    ),
)

ASCENDING = [
    "0.9.9",
    "1.0.dev1",
    "1.0a1",
    "1.0a2",
    "1.0b1",
    "1.0-rc.1",
    "1.0-rc.2",
    "1.0-rc.10",
    "1.0",
    "1.0.1",
    "1.0.2",
    "1.0.2k",
    "1.0.10",
    "1.2~beta1",
    "1.2",
    "1.9",
    "1.10",
    "v2.0",
    "2026.11.24",
    "1:0.1",
]


def test_versions_are_ordered_as_people_expect():
    assert sorted(ASCENDING, key=version_key) == ASCENDING
    for older, newer in itertools.pairwise(ASCENDING):
        assert is_downgrade(newer, older), (newer, older)
        assert not is_downgrade(older, newer), (older, newer)


def test_equally_new_versions_are_no_downgrade():
    for one, other in (
        ("1.4", "1.4.0"),
        ("1.4+build7", "1.4+build6"),
        ("v1.4", "1.4"),
        ("1.0-RC1", "1.0rc1"),
        ("1.0.0a1", "1.0a1"),
    ):
        assert version_key(one) == version_key(other)
        assert not is_downgrade(one, other)
        assert not is_downgrade(other, one)


@given(VERSIONS)
def test_order_is_reflexive(version: str):
    assert version_key(version) == version_key(version)
    assert not is_downgrade(version, version)


@given(VERSIONS, VERSIONS)
def test_order_is_total_and_antisymmetric(one: str, other: str):
    older, newer, same = (
        is_downgrade(other, one),
        is_downgrade(one, other),
        version_key(one) == version_key(other),
    )
    assert [older, newer, same].count(True) == 1


@given(VERSIONS, VERSIONS, VERSIONS)
def test_order_is_transitive(one: str, two: str, three: str):
    if not is_downgrade(two, one) and not is_downgrade(three, two):
        assert not is_downgrade(three, one)


@given(
    st.lists(st.integers(0, 100), min_size=1, max_size=4),
    st.lists(st.integers(0, 100), min_size=1, max_size=4),
)
def test_numbers_are_compared_as_numbers(one: list[int], other: list[int]):
    width = max(len(one), len(other))
    padded = [numbers + [0] * (width - len(numbers)) for numbers in (one, other)]
    assert is_downgrade(".".join(map(str, one)), ".".join(map(str, other))) == (padded[1] < padded[0])


@given(
    st.lists(st.integers(0, 100), min_size=1, max_size=4),
    st.sampled_from(["rc1", "a1", "b2", "dev3", "-rc.1"]),
)
def test_a_pre_release_is_older_than_its_release_and_newer_than_the_one_before(
    numbers: list[int], suffix: str
):
    release = ".".join(map(str, numbers))
    before = ".".join(map(str, [*numbers[:-1], numbers[-1] - 1])) if numbers[-1] else None
    assert is_downgrade(release, release + suffix)
    if before is not None:
        assert is_downgrade(release + suffix, before)

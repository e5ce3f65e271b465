"""TEST-002: names over arbitrary prefixes, environments, versions, templates, lengths and existing names."""

import re
from datetime import UTC, datetime
from itertools import pairwise

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from pydantic import ValidationError

from agent.naming import MAX_INDEX, Claim, Claims, NamingError, make_name, name_at, owner_of
from agent.wire.naming import VARIABLES, ContainerNaming, parse_template

DOCKER = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]+")
DNS = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
AT = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)

NAIVE = AT.replace(tzinfo=None)

times = st.datetimes(NAIVE.replace(year=1000), NAIVE.replace(year=9999), timezones=st.just(UTC))
lengths = st.integers(2, 40) | st.integers(2, 253)
separators = st.sampled_from("-_.")
prefixes = st.from_regex(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,99}", fullmatch=True)
environments = st.text(min_size=1, max_size=100) | st.from_regex(r"[a-z]{1,10}", fullmatch=True)
versions = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._+~:-]{0,99}", fullmatch=True)
pieces = st.lists(
    st.sampled_from([f"${{{name}}}" for name in VARIABLES])
    | st.from_regex(r"[A-Za-z0-9_.-]{1,6}", fullmatch=True),
    max_size=8,
)


@st.composite
def namings(draw, prefixes=prefixes, lengths=lengths):
    """A naming that is accepted, with the shape's fields or a template of its own."""
    prefix, separator = draw(prefixes), draw(separators)
    template = None
    if draw(st.booleans()):
        head = draw(st.sampled_from(["${PREFIX}", prefix]))
        rest = draw(pieces)
        template = f"{head}{separator}{''.join(rest)}" if rest else head
        assume(len(template) <= 200)
    fields = {"include_env": draw(st.booleans()), "include_ver": draw(st.booleans())}
    try:
        return ContainerNaming(
            prefix=prefix, separator=separator, max_length=draw(lengths), template=template, **fields
        )
    except ValidationError:
        assume(False)


def names_one_after_another(naming, count, rule="docker", **place):
    """As many names as a host asks for, each with the ones before it taken."""
    names = []
    for _ in range(count):
        names.append(make_name(naming, at=AT, taken=names, rule=rule, **place))
    return names


def never_cut(naming, at, index):
    """What has to be whole in the name, in this order."""
    values = {
        "TIMESTAMP": at.strftime("%Y%m%d%H%M%S"),
        "DATE": at.strftime("%Y%m%d"),
        "TIME": at.strftime("%H%M%S"),
        "INDEX": str(index),
    }
    variables = [text for kind, text in naming.tokens() if kind == "variable"]
    kept = [values[name] for name in variables if name in values]
    return kept if "INDEX" in variables or index == 1 else [*kept, f"{naming.separator}{index}"]


@given(namings(), environments, versions, times, st.integers(1, MAX_INDEX))
@example(ContainerNaming(prefix="a", max_length=7), "prod", "1", AT, MAX_INDEX)
@example(ContainerNaming(prefix="ab", template="${PREFIX}", max_length=8), "prod", "1", AT, MAX_INDEX)
@example(ContainerNaming(prefix="a", template="a-${PREFIX}${PREFIX}", max_length=10), "p", "1", AT, 7)
def test_every_name_is_legal_within_its_length_and_ends_uniquely(naming, environment, version, at, index):
    name = name_at(naming, index, environment=environment, version=version, at=at)
    assert DOCKER.fullmatch(name)
    assert len(name) <= naming.max_length
    assert Claim("mine", naming.prefix, naming.separator).covers(name)
    position = 0
    for part in never_cut(naming, at, index):
        position = name.find(part, position)
        assert position >= 0, (name, part)
        position += len(part)
    if index > 1 and ("variable", "INDEX") not in naming.tokens():
        assert name.endswith(f"{naming.separator}{index}")


@given(namings(), environments, versions, st.lists(st.text(max_size=8), max_size=5))
def test_names_asked_for_one_after_another_are_all_different(naming, environment, version, others):
    place = {"environment": environment, "version": version}
    names = names_one_after_another(naming, 12, **place)
    assert len(set(names)) == 12
    free = make_name(naming, at=AT, taken=[*names, *others], **place)
    assert free not in {*names, *others}


@given(namings(), environments, versions, times, st.sets(st.integers(1, 40)))
def test_lowest_free_index_is_taken(naming, environment, version, at, used):
    place = {"environment": environment, "version": version, "at": at}
    taken = {name_at(naming, index, **place) for index in used}
    lowest = next(index for index in range(1, 42) if index not in used)
    assert make_name(naming, taken=taken, **place) == name_at(naming, lowest, **place)


@given(namings(), environments, versions, times, st.lists(prefixes, max_size=5))
def test_same_input_gives_the_same_name(naming, environment, version, at, taken):
    place = {"environment": environment, "version": version, "at": at}
    once = make_name(naming, taken=taken, **place)
    assert once == make_name(naming, taken=list(reversed(taken)) * 2, **place)
    assert once == make_name(
        ContainerNaming.model_validate_json(naming.model_dump_json()), taken=set(taken), **place
    )


dns_prefixes = st.from_regex(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,15}", fullmatch=True)


@given(namings(dns_prefixes, st.integers(40, 253)), environments, versions, times, st.integers(1, MAX_INDEX))
def test_kubernetes_names_are_dns_labels(naming, environment, version, at, index):
    try:
        name = name_at(naming, index, environment=environment, version=version, at=at, rule="dns-1123")
    except NamingError:  # more that is never cut than a label has room for
        kept = sum(len(part) for part in never_cut(naming, at, index))
        repeated = sum(token == ("variable", "PREFIX") for token in naming.tokens())
        assert kept + (repeated + 1) * len(naming.prefix) + len(naming.separator) > 63
        return
    assert DNS.fullmatch(name)
    legal_prefix = re.sub(r"[^a-z0-9-]+", "-", naming.prefix.lower()).rstrip("-")
    assert name.startswith(legal_prefix)
    assert len(name) <= min(63, naming.max_length)


@given(namings(dns_prefixes, st.just(63)), st.text(min_size=1, max_size=100), versions)
def test_kubernetes_names_are_unique_too(naming, environment, version):
    try:
        names = names_one_after_another(naming, 8, "dns-1123", environment=environment, version=version)
    except NamingError:
        assume(False)
    assert len(set(names)) == 8


# --- examples, as the requirements give them


@pytest.mark.parametrize(
    ("fields", "wanted"),
    [
        ({}, "shop-prod-1"),
        ({"include_env": False}, "shop-1"),
        ({"include_ver": True}, "shop-prod-1.5-20300102030405"),
        ({"separator": "_"}, "shop_prod_1"),
        ({"template": "${PREFIX}-${ENV}"}, "shop-prod"),
        ({"template": "${PREFIX}"}, "shop"),
        ({"template": "shop-web-${DATE}.${TIME}"}, "shop-web-20300102.030405"),
    ],
)
def test_shapes(fields, wanted):
    naming = ContainerNaming(prefix="shop", **fields)
    assert make_name(naming, environment="prod", version="1.5", at=AT) == wanted


def test_name_without_an_index_gets_one_where_it_is_taken():
    naming = ContainerNaming(prefix="shop", template="${PREFIX}-${ENV}")
    names = names_one_after_another(naming, 3, environment="prod", version="1")
    assert names == ["shop-prod", "shop-prod-2", "shop-prod-3"]


def test_cutting_takes_the_version_first_and_never_the_unique_end():
    naming = ContainerNaming(prefix="shop", include_ver=True, max_length=30)
    place = {"environment": "production", "version": "1.5.0-rc.1", "at": AT}
    assert make_name(naming, **place) == "shop-productio--20300102030405"
    taken = {"shop-productio--20300102030405"}
    assert make_name(naming, taken=taken, **place) == "shop-product--20300102030405-2"


def test_no_free_name_is_an_error_not_a_longer_name():
    naming = ContainerNaming(prefix="a", include_env=False, max_length=7)
    place = {"environment": "prod", "version": "1", "at": AT}
    taken = {f"a-{index}" for index in range(1, MAX_INDEX + 1)}
    with pytest.raises(NamingError, match=f"{MAX_INDEX} are taken"):
        make_name(naming, taken=taken, **place)
    assert make_name(naming, taken=taken - {f"a-{MAX_INDEX}"}, **place) == f"a-{MAX_INDEX}"


# --- what is refused when a naming is saved


@pytest.mark.parametrize(
    ("fields", "field", "message"),
    [
        ({"prefix": ""}, "prefix", "at least 1"),
        ({"prefix": "-shop"}, "prefix", "pattern"),
        ({"prefix": "shop\n"}, "prefix", "pattern"),
        ({"prefix": "büro"}, "prefix", "pattern"),
        ({"prefix": "x" * 101}, "prefix", "at most 100"),
        ({"prefix": "shop-"}, "prefix", "end with the separator"),
        ({"prefix": "s", "template": "${PREFIX}"}, "prefix", "two characters"),
        ({"separator": ""}, "separator", "Input should be"),
        ({"template": ""}, "template", "at least 1"),
        ({"template": "${PREFIX}-${HOST}"}, "template", "unknown variable"),
        ({"template": "${PREFIX}-${env}"}, "template", "unknown variable"),
        ({"template": "${PREFIX}-${}"}, "template", "unknown variable"),
        ({"template": "${PREFIX}-$ENV"}, "template", "only"),
        ({"template": "${PREFIX}-${ENV"}, "template", "only"),
        ({"template": "${PREFIX}/${ENV}"}, "template", "only"),
        ({"template": "${PREFIX}-a b"}, "template", "only"),
        ({"template": "${PREFIX}-x\n"}, "template", "only"),
        ({"template": "${PREFIX}${ENV}"}, "template", "begins with"),
        ({"template": "${ENV}-${PREFIX}"}, "template", "begins with"),
        ({"template": "shop2-${INDEX}"}, "template", "begins with"),
        ({"template": "${PREFIX}_${INDEX}"}, "template", "begins with"),
        ({"max_length": 1}, "max_length", "greater"),
        ({"max_length": 254}, "max_length", "less"),
        ({"max_length": 9}, "max_length", "needs 10 characters"),
        ({"max_length": 24, "include_ver": True}, "max_length", "needs 25 characters"),
        ({"max_length": 9, "template": "${PREFIX}"}, "max_length", "needs 10 characters"),
        ({"prefix": "x" * 60}, "max_length", "needs 66 characters"),
        ({"max_length": 13, "template": "${PREFIX}-${PREFIX}${INDEX}"}, "max_length", "needs 14 characters"),
        ({"colour": "red"}, "colour", "not permitted"),
    ],
)
def test_what_gives_no_legal_and_unique_name_is_refused_naming_the_field(fields, field, message):
    with pytest.raises(ValidationError) as caught:
        ContainerNaming.model_validate({"prefix": "shop", **fields})
    found = {".".join(map(str, one["loc"])): one["msg"] for one in caught.value.errors()}
    assert message in found[field], found


def test_every_bad_field_is_named_and_no_input_is_repeated():
    with pytest.raises(ValidationError) as caught:
        ContainerNaming(prefix="secret-", template="${PREFIX}hidden", max_length=9)
    assert {one["loc"] for one in caught.value.errors()} == {("prefix",), ("template",), ("max_length",)}
    assert "secret" not in str(caught.value)
    assert "hidden" not in str(caught.value)


@given(st.text(max_size=30) | pieces.map("".join))
def test_template_is_read_whole_or_refused(template):
    try:
        tokens = parse_template(template)
    except ValueError:
        return
    assert "".join(text if kind == "literal" else f"${{{text}}}" for kind, text in tokens) == template


# --- whose a container is

words = st.from_regex(r"[a-b0-1]{1,3}", fullmatch=True)


@st.composite
def overlapping(draw):
    """Claims with prefixes that differ and often begin with each other, and names near them."""
    chosen = draw(
        st.lists(
            st.lists(words, min_size=1, max_size=3).map("-".join) | st.lists(words, max_size=2).map("_".join),
            min_size=1,
            max_size=8,
            unique=True,
        )
    )
    claims = [
        Claim(f"project-{number}", prefix, draw(separators)) for number, prefix in enumerate(chosen) if prefix
    ]
    near = st.builds(
        "{}{}{}".format,
        st.sampled_from([claim.prefix for claim in claims] or ["a"]),
        st.sampled_from(["", "-", "_", ".", "2"]),
        words | st.just(""),
    )
    return claims, draw(st.lists(near | st.text(max_size=6), min_size=1, max_size=10))


@given(overlapping())
def test_index_of_claims_answers_as_the_walk_over_all_of_them(given_claims):
    claims, names = given_claims
    index = Claims(claims)
    for name in names:
        assert index.owner_of(name) == owner_of(name, claims), name


@given(overlapping())
def test_longest_prefix_wins_and_only_at_its_separator(given_claims):
    claims, names = given_claims
    for name in names:
        owner = owner_of(name, claims)
        if owner is None:
            assert not any(claim.covers(name) for claim in claims)
            continue
        rest = name.removeprefix(owner.prefix)
        assert rest != name or name == owner.prefix or not owner.prefix
        assert rest == "" or rest.startswith(owner.separator)
        assert not any(claim.covers(name) and len(claim.prefix) > len(owner.prefix) for claim in claims)


@given(namings(), environments, versions, times, st.integers(1, MAX_INDEX))
def test_made_name_belongs_to_its_own_project_where_nobody_overlaps(naming, environment, version, at, index):
    mine = Claim("mine", naming.prefix, naming.separator)
    others = [Claim("longer", naming.prefix + "x", "-"), Claim("other", "q" + naming.prefix, "-")]
    name = name_at(naming, index, environment=environment, version=version, at=at)
    assert owner_of(name, [*others, mine]) == mine


@pytest.mark.parametrize(
    ("name", "owner"),
    [
        ("shop", "shop"),
        ("shop-1", "shop"),
        ("shop-prod-1", "shop"),
        ("shop2-1", None),
        ("shop_1", None),
        ("Shop-1", None),
        ("shop-api", "shop-api"),
        ("shop-api-1", "shop-api"),
        ("shop-apis-1", "shop"),
        ("shop-api.1", "shop"),
        ("", None),
    ],
)
def test_overlapping_prefixes(name, owner):
    claims = [Claim("shop", "shop"), Claim("shop-api", "shop-api")]
    for ordered in (claims, claims[::-1]):
        found = owner_of(name, ordered)
        assert (found.project_id if found else None) == owner
        assert Claims(ordered).owner_of(name) == found


def test_separators_between_lengths_do_not_matter():
    claims = Claims(Claim(str(length), "x" * length) for length in range(1, 101))
    for shorter, longer in pairwise(range(1, 101)):
        assert claims.owner_of("x" * shorter + "-1").project_id == str(shorter)
        assert claims.owner_of("x" * longer).project_id == str(longer)

"""The index of prefixes gives the answers of `owner_of`."""

from hypothesis import given
from hypothesis import strategies as st

from agent.containers.prefixes import SEPARATORS, Prefixes
from agent.naming import Claim, owner_of

NAMES = st.text("ab-_.", min_size=1, max_size=8)


@given(prefixes=st.lists(NAMES, max_size=8), name=NAMES)
def test_index_and_owner_of_agree(prefixes: list[str], name: str):
    claims = [Claim(prefix, prefix, separator) for prefix in prefixes for separator in SEPARATORS]
    owner = owner_of(name, claims)
    assert Prefixes(prefixes).longest(name) == (owner.prefix if owner else None)


def test_longest_prefix_wins_whatever_its_separator():
    of = Prefixes(["shop", "shop-api", "shop_api"])
    assert [of.longest(name) for name in ("shop-api.1", "shop_api-1", "shop.1", "shop2-1", "shop")] == [
        *("shop-api", "shop_api", "shop", None, "shop")
    ]

"""Pairs whose reports say the same again and again: what was judged once, and changed nothing, is not judged anew."""

from collections.abc import Sequence
from typing import NamedTuple

from db.queries.alerts import Pair

MAX_PAIRS = 50_000


class Basis(NamedTuple):
    """All that a report is judged by, but for its measurements, its time and the alerts that live: what it said (a hash),
    the rules that its agent found nothing of, and the documents of the version's `process_config` and of the memory (a
    hash of both). The hashes are this process's own, 64 bits, of a few documents of one pair.
    """

    said: int
    unmatched_rules: Sequence[str] | None
    documents: int


class CalmPairs:
    """What each pair's last moderate report was judged by that raised nothing and left the memory as it was: by the same,
    a moderate report always does. So it is no matter whether that one was kept in the end. Threads may share it.
    """

    def __init__(self) -> None:
        self._known: dict[Pair, Basis] = {}

    def knows(self, pair: Pair, basis: Basis | None) -> bool:
        """Whether it was this."""
        return basis is not None and self._known.get(pair) == basis

    def learn(self, pair: Pair, basis: Basis | None) -> None:
        """Remember it; None: nothing to compare with."""
        if basis is None:
            return
        if len(self._known) >= MAX_PAIRS and pair not in self._known:
            self._known.clear()
        self._known[pair] = basis

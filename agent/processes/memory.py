"""What a collection remembers of the one before, so that the next need only look at what is new or matched."""

from dataclasses import dataclass, field

from agent.processes.matching import CompiledRules

FULL_SCAN_EVERY = 10
"""Rounds between full scans: processes exec in place, rename themselves, and pids are given out again."""


@dataclass(slots=True)
class Memory:
    """One rule set's memory. A pid is settled once two rounds saw it: the first may fall between fork and exec."""

    rules: CompiledRules
    seen_once: frozenset[str] = frozenset()
    settled: frozenset[str] = frozenset()
    matched: dict[str, set[str]] = field(default_factory=dict)
    rounds: int = 0

    def candidates(self, pids: frozenset[str], *, fresh: bool) -> frozenset[str]:
        """Which of `pids` to look at this round: all of them when `fresh`, or when it is time again."""
        if fresh or self.rounds % FULL_SCAN_EVERY == 0:
            return pids
        return (pids - self.settled) | (pids & self.matched.keys())

    def lost_a_rule(self, found: dict[str, set[str]]) -> bool:
        """Whether a rule that matched last round matches nothing now: worth a look at everything."""
        before: set[str] = set().union(*self.matched.values()) if self.matched else set()
        now: set[str] = set().union(*found.values()) if found else set()
        return not before <= now

    def remember(self, pids: frozenset[str], found: dict[str, set[str]]) -> None:
        """Keep this round for the next."""
        self.settled = pids & (self.settled | self.seen_once)
        self.seen_once = pids - self.settled
        self.matched = found
        self.rounds += 1

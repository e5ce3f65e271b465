"""What one look at a project's processes saw, for comparison with another: pure."""

from collections import Counter
from dataclasses import dataclass

from agent.wire.processes import Collected


@dataclass(frozen=True, slots=True)
class Seen:
    """`processes`: pid, start ticks, rule, and whether it is a zombie. `roots`: those whose parent is no match."""

    processes: frozenset[tuple[int, int | None, str, bool]] = frozenset()
    unmatched_rules: frozenset[str] = frozenset()
    roots: frozenset[tuple[int, int]] = frozenset()
    """(pid, start ticks) of those that live."""
    roots_by_rule: tuple[tuple[str, int], ...] = ()

    def has_all_of(self, usual: "Seen") -> bool:
        """Whether as many live roots match each rule as usual."""
        now = dict(self.roots_by_rule)
        return all(now.get(rule, 0) >= count for rule, count in usual.roots_by_rule)


def what_is_seen(collected: Collected) -> Seen:
    """Of a collection."""
    living = [one for one in collected.processes if one.is_root and one.status != "zombie"]
    return Seen(
        processes=frozenset(
            (one.pid, one.start_ticks, one.matched_by, one.status == "zombie") for one in collected.processes
        ),
        unmatched_rules=frozenset(collected.unmatched_rules),
        roots=frozenset((one.pid, one.start_ticks) for one in living if one.start_ticks is not None),
        roots_by_rule=tuple(sorted(Counter(one.matched_by for one in living).items())),
    )

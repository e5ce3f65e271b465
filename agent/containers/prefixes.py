"""Which of many prefixes a container's name has: the longest, at one of the separators that a name may have."""

from collections.abc import Sequence

from agent.naming import Claim, Claims

SEPARATORS = ("-", "_", ".")
"""The agent is told prefixes alone; which separator a project uses is the server's business."""


class Prefixes:
    """The same answers as `agent.naming.owner_of` with a claim for each prefix and separator, from an index."""

    def __init__(self, prefixes: Sequence[str]) -> None:
        self._claims = [
            Claims(Claim(prefix, prefix, separator) for prefix in prefixes) for separator in SEPARATORS
        ]

    def longest(self, name: str) -> str | None:
        """The longest prefix that covers the name (without the engine's leading slash), or None."""
        covering = (claims.owner_of(name) for claims in self._claims)
        return max((claim.prefix for claim in covering if claim is not None), key=len, default=None)

"""Cuts a selection into waves: counts, or shares of the whole selection rounded up; the last size repeats."""

from collections.abc import Sequence

from db.documents.strategy import WaveSize


def wave_size(size: WaveSize, total: int) -> int:
    """How many clients of `total` a size means: at least one."""
    if isinstance(size, int):
        return size
    return max(1, -(-total * int(size.rstrip("%")) // 100))


def cut_into_waves(client_ids: Sequence[str], sizes: Sequence[WaveSize]) -> tuple[tuple[str, ...], ...]:
    """The clients in their order, each in exactly one wave; no wave is empty."""
    waves: list[tuple[str, ...]] = []
    start = 0
    while start < len(client_ids):
        end = start + wave_size(sizes[min(len(waves), len(sizes) - 1)], len(client_ids))
        waves.append(tuple(client_ids[start:end]))
        start = end
    return tuple(waves)

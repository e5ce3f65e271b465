"""Cuts a selection into waves: counts, or shares of the whole selection rounded up; the last size repeats."""

from collections.abc import Mapping, Sequence

from db.documents.strategy import WaveSize


def wave_size(size: WaveSize, total: int) -> int:
    """How many clients of `total` a size means: at least one."""
    if isinstance(size, int):
        return size
    return max(1, -(-total * int(size.rstrip("%")) // 100))


def cut_into_waves(
    client_ids: Sequence[str], sizes: Sequence[WaveSize], groups: Mapping[str, str] | None = None
) -> tuple[tuple[str, ...], ...]:
    """The clients in their order, each in exactly one wave; no wave is empty.

    `groups`: of two clients of the same group, the second waits for a later wave.
    """
    waves: list[tuple[str, ...]] = []
    left = list(client_ids)
    while left:
        wave = _take(left, wave_size(sizes[min(len(waves), len(sizes) - 1)], len(client_ids)), groups or {})
        waves.append(tuple(wave))
        taken = set(wave)
        left = left[len(wave) :] if left[: len(wave)] == wave else [one for one in left if one not in taken]
    return tuple(waves)


def _take(left: Sequence[str], size: int, groups: Mapping[str, str]) -> list[str]:
    if not groups:
        return list(left[:size])
    wave: list[str] = []
    inside: set[str] = set()
    for client in left:
        group = groups.get(client)
        if group is not None and group in inside:
            continue
        wave.append(client)
        if group is not None:
            inside.add(group)
        if len(wave) == size:
            break
    return wave

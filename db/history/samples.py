"""A report's measurements as columns, and a report made of its set and its columns again."""

from collections.abc import Sequence
from typing import Any

from agent.wire.processes import ProcessInfo

LETTERS = {
    "running": "R",
    "sleeping": "S",
    "disk_sleep": "D",
    "stopped": "T",
    "zombie": "Z",
    "idle": "I",
}
"""As `ps` has them, but for idle."""
_WORDS = {letter: word for word, letter in LETTERS.items()}


def sample_columns(processes: Sequence[ProcessInfo]) -> dict[str, Any]:
    """`statuses`, and a list of values for each of SAMPLED; None where no process was measured."""
    cpu = [one.cpu_percent for one in processes]
    memory = [one.memory_mb for one in processes]
    share = [one.memory_pct for one in processes]
    return {
        "statuses": "".join([LETTERS[one.status] for one in processes]),
        "cpu_percent": _or_none(cpu),
        "memory_mb": _or_none(memory),
        "memory_pct": _or_none(share),
    }


def _or_none(values: list[float | None]) -> list[float | None] | None:
    return None if values.count(None) == len(values) else values


def process_documents(
    definitions: list[dict[str, Any]], statuses: str, *sampled: Sequence[float | None] | None
) -> list[dict[str, Any]]:
    """ProcessInfo documents of a set's definitions, which they take over, and a report's columns (SAMPLED, in its order)."""
    unknown = [None] * len(definitions)
    cpu, memory, share = (values or unknown for values in sampled)
    measured = zip(definitions, statuses, cpu, memory, share, strict=True)
    for definition, letter, its_cpu, its_memory, its_share in measured:
        definition["status"] = _WORDS[letter]
        definition["cpu_percent"] = its_cpu
        definition["memory_mb"] = its_memory
        definition["memory_pct"] = its_share
    return definitions

"""Where benchmarks leave their figures: benchmarks/results/NAME.json, with the machine they were taken on."""

import json
import os
import platform
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.page import write_page

FOLDER = Path(__file__).parent / "results"


def at_most(
    reached: float, target: float, unit: str, **beside: float | Mapping[str, float]
) -> dict[str, Any]:
    """One of a result's `targets_met`: a figure that must not exceed its target. `beside`: `peers` and `floor`, in the same unit."""
    return _judged(reached, target, unit, "at most", reached <= target, beside)


def at_least(
    reached: float, target: float, unit: str, **beside: float | Mapping[str, float]
) -> dict[str, Any]:
    """One of a result's `targets_met`: a figure that must come up to its target. `beside`: `peers` and `floor`, in the same unit."""
    return _judged(reached, target, unit, "at least", reached >= target, beside)


def _judged(
    reached: float, target: float, unit: str, bound: str, met: bool, beside: Mapping[str, Any]
) -> dict[str, Any]:
    return {"reached": reached, "target": target, "bound": bound, "unit": unit, "met": met, **beside}


def write_results(name: str, figures: dict[str, Any]) -> None:
    """Print the figures, keep them for git, and bring docs/reference/benchmarks.md up to them."""
    document = {
        "measured_at": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "machine": {
            "cores": os.cpu_count(),
            "kernel": platform.release(),
            "python": platform.python_version(),
            "load_before": round(os.getloadavg()[2], 2),
        },
        **figures,
    }
    FOLDER.mkdir(exist_ok=True)
    path = FOLDER / f"{name}.json"
    path.write_text(json.dumps(document, indent=2) + "\n")
    print(json.dumps(figures, indent=2))
    print(f"written to {path} and {write_page()}")

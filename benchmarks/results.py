"""Where benchmarks leave their figures: benchmarks/results/NAME.json, with the machine they were taken on."""

import json
import os
import platform
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "results"


def at_most(reached: float, target: float) -> dict[str, Any]:
    """A target that the figure must not exceed, for `targets_met`."""
    return {"reached": reached, "target": target, "bound": "at most", "met": reached <= target}


def at_least(reached: float, target: float) -> dict[str, Any]:
    """A target that the figure must come up to, for `targets_met`."""
    return {"reached": reached, "target": target, "bound": "at least", "met": reached >= target}


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
    print(f"written to {path}")

"""docs/reference/benchmarks.md: made of the committed results, so that no figure in it is typed by hand."""

import ast
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
PAGE = HERE.parent / "docs" / "reference" / "benchmarks.md"

HEAD = """\
# Benchmarks

Made by `python -m benchmarks` of what is in [benchmarks/results](../../benchmarks/results); don't edit it. Each benchmark measures
its peers (public tools that do the same) and its floor (the least that the work can cost), where it has them, in the same run, and
keeps all its figures in its file. Compare ratios: absolute figures are this machine's. The targets come from what was measured before
Hoist was written. `make bench` repeats all of it.

| work | what | ours | target | met | peers | floor |
|---|---|---|---|---|---|---|
"""
BETWEEN = """
Where there is no peer: the clients of `rollout` are simulated by this project's own server, which no other tool speaks to, so only
its floor is beside it; `fanout` is what compares with other tools. `demo` is this project's own command. Beside `agent at rest` a
salt-minion would be a peer: it was not measured. A ratio needs none: its row is a comparison itself.

## What is measured, and how to repeat it
| benchmark | what it does | command | measured | machine |
|---|---|---|---|---|
"""


def render(results: Mapping[str, Mapping[str, Any]]) -> str:
    """The page for these results, by the benchmarks' names."""
    targets = [row for name in sorted(results) for row in _target_rows(name, results[name])]
    runs = [_run_row(name, results[name]) for name in sorted(results)]
    return HEAD + "\n".join(targets) + "\n" + BETWEEN + "\n".join(runs) + "\n"


def committed_results() -> dict[str, Any]:
    """Every result in the repository, by its benchmark's name."""
    return {path.stem: json.loads(path.read_text()) for path in (HERE / "results").glob("*.json")}


def write_page() -> Path:
    """Bring the page up to the results; answers where it is."""
    PAGE.write_text(render(committed_results()))
    return PAGE


def targets_of(result: Mapping[str, Any], place: str = "") -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """Every entry of a `targets_met`, at any depth: where it is, its name, and itself."""
    for key, value in result.items():
        if key == "targets_met":
            yield from ((place, name, target) for name, target in value.items())
        elif isinstance(value, Mapping):
            yield from targets_of(value, f"{place} {_words(key)}".strip())


def _target_rows(name: str, result: Mapping[str, Any]) -> Iterator[str]:
    for place, what, target in targets_of(result):
        unit = target["unit"]
        peers = ", ".join(f"{_words(peer)} {figure:,}" for peer, figure in target.get("peers", {}).items())
        cells = [
            _words(name) + (f", {place}" if place else ""),
            _words(what),
            f"{target['reached']:,} {unit}",
            f"{target['bound']} {target['target']:,} {unit}",
            "yes" if target["met"] else "**no**",
            peers or "–",
            f"{target['floor']:,}" if "floor" in target else "–",
        ]
        yield f"| {' | '.join(cells)} |"


def _run_row(name: str, result: Mapping[str, Any]) -> str:
    machine = result["machine"]
    about = ast.get_docstring(ast.parse((HERE / name / "__init__.py").read_text())) or ""
    cells = [
        f"[{_words(name)}](../../benchmarks/results/{name}.json)",
        about.splitlines()[0].rstrip("."),
        f"`python -m benchmarks.{name}`",
        result["measured_at"][:10],
        f"{machine['cores']} cores, load {machine['load_before']} before, Python {machine['python']}",
    ]
    return f"| {' | '.join(cells)} |"


def _words(name: str) -> str:
    return name.replace("_", " ")

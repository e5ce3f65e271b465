"""docs/reference/benchmarks.md says what benchmarks/results says, and no verdict there contradicts its figure."""

import json

import pytest

from benchmarks.page import HERE, PAGE, committed_results, render, targets_of

RESULTS = committed_results()


def test_page_is_made_of_the_committed_results():
    assert PAGE.read_text() == render(RESULTS), "run: python -m benchmarks"


def test_page_changes_with_a_figure():
    changed = json.loads(json.dumps(RESULTS))
    changed["rollout"]["targets_met"]["clients_per_s"]["reached"] += 1
    assert render(changed) != render(RESULTS)


def test_every_benchmark_has_a_result():
    packages = {path.parent.name for path in HERE.glob("*/__main__.py")}
    assert packages == RESULTS.keys()


@pytest.mark.parametrize("name", RESULTS)
def test_verdicts_follow_from_the_figures(name):
    targets = list(targets_of(RESULTS[name]))
    assert targets, "a result names its targets: see benchmarks/results.py"
    for _, what, target in targets:
        reached, wanted = target["reached"], target["target"]
        met = reached <= wanted if target["bound"] == "at most" else reached >= wanted
        assert target["bound"] in ("at most", "at least")
        assert target["met"] is met, what

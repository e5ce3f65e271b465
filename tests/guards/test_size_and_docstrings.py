"""The house style's numbers, over the product's code."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("agent", "api", "db", "deployments", "flows", "tasks")
FILE_LINES, FUNCTION_LINES = 500, 60
MODULES = sorted(path for room in ROOMS for path in (ROOT / room).rglob("*.py"))


def name_of(path):
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_module_has_a_docstring_and_a_size_one_can_read(path):
    text = path.read_text()
    tree = ast.parse(text)
    if "migrations/versions" not in str(path):
        assert ast.get_docstring(tree), f"{name_of(path)} has no docstring"
    assert text.count("\n") <= FILE_LINES, f"{name_of(path)} is longer than {FILE_LINES} lines"
    functions = (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    long = [
        f"{f.name} ({f.end_lineno - f.lineno + 1})"
        for f in functions
        if f.end_lineno - f.lineno >= FUNCTION_LINES
    ]
    assert not long, f"{name_of(path)} has functions longer than {FUNCTION_LINES} lines: {long}"


def test_there_is_something_to_guard():
    assert len(MODULES) > 20

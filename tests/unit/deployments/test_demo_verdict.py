"""What makes `make demo DEMO_EXIT=1` fail."""

import pytest

from deployments.demo.application import FROM, TO
from deployments.demo.upgrade import exit_status


@pytest.mark.parametrize(
    ("status", "served", "code"),
    [
        ("completed", {"web-1": TO, "web-2": TO}, 0),
        ("completed", {"web-1": TO, "web-2": FROM}, 1),
        ("completed", {"web-1": TO, "web-2": None}, 1),
        ("completed", {}, 1),
        ("failed", {"web-1": TO, "web-2": TO}, 1),
        ("paused", {"web-1": TO, "web-2": FROM}, 1),
    ],
)
def test_exit_status_is_zero_only_where_all_serve_the_new_version(status: str, served: dict, code: int):
    said: list[str] = []
    assert exit_status({"status": status}, served, said.append) == code
    assert said[0].startswith("not upgraded") == (code != 0)

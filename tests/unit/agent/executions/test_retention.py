"""Logs are kept for 14 days or 500 MB, ids for 90 days."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from agent.executions import journal
from agent.executions.journal import Journal

NOW = datetime(2026, 5, 4, tzinfo=UTC)


def test_old_logs_and_older_ids_are_dropped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(journal, "KEEP_LOG_BYTES", 3 * 65_536)
    kept = Journal(tmp_path)
    ages = {"fresh": 0, "fresh2": 1, "beyond-the-room": 2, "old-log": 15, "old-id": 91}
    for name in ages:
        folder = kept.paths(name).directory
        folder.mkdir()
        (folder / "record.json").write_text("{}")
        (folder / "output").write_bytes(b"x" * 80_000)
    dropped = kept.remove_old({name: NOW - timedelta(days=age) for name, age in ages.items()}, NOW)
    assert dropped == {"old-id"}
    assert not kept.paths("old-id").directory.exists()
    assert {name for name in ages if kept.paths(name).output.exists()} == {"fresh", "fresh2"}
    assert kept.paths("old-log").record.exists()

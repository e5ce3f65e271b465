import stat
import threading
from pathlib import Path

import pytest

from db.errors import PermanentDatabaseError
from db.private_files import read_or_create


def test_a_file_is_made_for_its_owner_alone(tmp_path: Path):
    path = tmp_path / "a" / "b" / "token"
    assert read_or_create(path, "first") == "first"
    assert read_or_create(path, "second") == "first"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert [found.name for found in path.parent.iterdir()] == ["token"]


def test_a_file_that_others_can_read_is_refused(tmp_path: Path):
    path = tmp_path / "token"
    path.write_text("secret")
    path.chmod(0o644)
    with pytest.raises(PermanentDatabaseError, match="chmod 600") as refusal:
        read_or_create(path, "x")
    assert "secret" not in str(refusal.value)


def test_whoever_loses_the_race_reads_the_winners(tmp_path: Path):
    path = tmp_path / "key"
    gate = threading.Barrier(8)
    read: list[str] = []

    def make(number: int) -> None:
        gate.wait(60)
        read.append(read_or_create(path, f"key-{number}"))

    threads = [threading.Thread(target=make, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(read) == 8
    assert set(read) == {path.read_text().strip()}

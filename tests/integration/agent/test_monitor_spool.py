"""The spool on disk and its delivery."""

import asyncio
import contextlib
import os
import subprocess

import pytest

from agent.monitors.delivery import Delivery
from agent.monitors.errors import PermanentReportError, TransientReportError
from agent.monitors.spool import Spool

SMALL_DISK_BYTES = 64 * 1024


class Api:
    """A sender that answers as told, and keeps what it got."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.got = []

    async def send(self, stream, body):
        answer = self.answers.pop(0) if self.answers else None
        if answer is not None:
            raise answer
        self.got.append(body)

    async def aclose(self):
        pass


def bodies(spool):
    found = []
    while (oldest := spool.oldest()) is not None:
        found.append(oldest[1])
        spool.remove(oldest[0].number)
    return found


@pytest.fixture
def small_disk(tmp_path):
    """A file system of its own, which is full soon."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={SMALL_DISK_BYTES}", "tmpfs", folder]
    if subprocess.run(command, check=False, capture_output=True).returncode:
        reason = "cannot mount a file system: run the tests as root (sudo make test)"
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_reports_come_back_in_order_after_a_restart(tmp_path):
    spool = Spool(tmp_path)
    for text in (b"1", b"2"):
        spool.append("shop", text)
    again = Spool(tmp_path)
    again.append("other", b"3")
    assert (again.count("shop"), again.count("other"), len(again)) == (2, 1, 3)
    assert bodies(again) == [b"1", b"2", b"3"]
    assert list((tmp_path / "spool").iterdir()) == []


def test_new_agent_counts_on_from_the_last_report_that_waits(tmp_path):
    spool = Spool(tmp_path)
    for number in (1, 2):
        assert spool.append("shop", b"1") == number
    spool.remove(1)
    again = Spool(tmp_path)
    assert again.append("shop", b"1") == 3
    for number in (2, 3):
        again.remove(number)
    assert Spool(tmp_path).append("shop", b"1") == 1


def test_oldest_are_dropped_where_there_are_too_many(tmp_path):
    spool = Spool(tmp_path, max_reports=3)
    for n in range(5):
        spool.append("shop", str(n).encode())
    assert bodies(spool) == [b"2", b"3", b"4"]


def test_oldest_are_dropped_where_they_are_too_big(tmp_path):
    spool = Spool(tmp_path, max_bytes=100)
    for n in range(5):
        spool.append("shop", bytes([n]) * 40)
    assert sum(path.stat().st_size for path in (tmp_path / "spool").iterdir()) <= 100
    assert [body[0] for body in bodies(Spool(tmp_path, max_bytes=100))] == [3, 4]


def test_half_written_report_and_missing_file_spoil_nothing(tmp_path):
    spool = Spool(tmp_path)
    first = spool.append("shop", b"1")
    spool.append("shop", b"2")
    (tmp_path / "spool" / ".0000000000000003.shop.json.partial").write_bytes(b"hal")
    again = Spool(tmp_path)
    assert len(again) == 2
    next((tmp_path / "spool").glob(f"*{first}.shop.json")).unlink()
    assert bodies(again) == [b"2"]


def test_dropped_reports_are_counted_by_stream_over_restarts(tmp_path):
    spool = Spool(tmp_path, max_reports=3)
    for stream in ("shop", "shop", "blog", "blog", "blog"):
        spool.append(stream, b"1")
    assert (spool.dropped("shop"), spool.dropped("blog"), spool.dropped("other")) == (2, 0, 0)
    again = Spool(tmp_path, max_reports=1)
    assert (again.dropped("shop"), again.dropped("blog")) == (2, 2)
    (tmp_path / "spool-dropped.json").write_text("[")
    assert Spool(tmp_path).dropped("shop") == 0


def test_report_that_cannot_be_written_is_counted(tmp_path):
    spool = Spool(tmp_path)
    (tmp_path / "spool").rmdir()
    with pytest.raises(OSError):
        spool.append("shop", b"1")
    assert (spool.dropped("shop"), len(spool)) == (1, 0)
    assert Spool(tmp_path).dropped("shop") == 1


def free(root):
    return os.statvfs(root).f_bavail


def fill(root):
    """Leave no room."""
    with contextlib.suppress(OSError), (root / "filler").open("wb", buffering=0) as filler:
        while filler.write(b"x" * 4096):
            pass
    assert free(root) == 0


def test_report_that_takes_the_last_room_leaves_some_for_the_count(small_disk):
    spool = Spool(small_disk)
    with pytest.raises(OSError, match="No space left"):
        spool.append("shop", b"1" * 2 * SMALL_DISK_BYTES)
    assert Spool(small_disk).dropped("shop") == 1


@pytest.mark.parametrize("chance", ["delivered", "kept"])
def test_count_that_had_no_room_is_kept_as_soon_as_there_is_some(small_disk, caplog, chance):
    spool = Spool(small_disk)
    number = spool.append("shop", b"1")
    fill(small_disk)
    for _ in range(2):
        with pytest.raises(OSError, match="No space left"):
            spool.append("shop", b"2")
    assert not (small_disk / "spool-dropped.json").exists()
    if chance == "delivered":
        spool.remove(number)
    else:
        (small_disk / "filler").unlink()
        spool.append("shop", b"3")
    assert Spool(small_disk).dropped("shop") == 2
    said = [record.getMessage() for record in caplog.records]
    assert said == ["cannot keep the number of dropped reports, will try again: No space left on device"]


def test_files_are_for_the_owner_alone(tmp_path):
    Spool(tmp_path).append("a:b", b"1")
    folder = tmp_path / "spool"
    assert folder.stat().st_mode & 0o777 == 0o700
    assert [path.stat().st_mode & 0o777 for path in folder.iterdir()] == [0o600]


async def test_delivery_is_in_order_and_stops_at_what_must_wait(tmp_path):
    spool, api = Spool(tmp_path), Api(None, TransientReportError("away"))
    delivery = Delivery(spool, api)
    for text in (b"1", b"2", b"3"):
        spool.append("shop", text)
    with pytest.raises(TransientReportError):
        await delivery.flush()
    assert (api.got, len(spool), delivery.last_error) == ([b"1"], 2, "away")
    await delivery.flush()
    assert (api.got, len(spool), delivery.last_error) == ([b"1", b"2", b"3"], 0, None)


async def test_report_refused_for_good_is_dropped_and_the_next_goes_on(tmp_path):
    spool, api = Spool(tmp_path), Api(PermanentReportError("no such project"))
    delivery = Delivery(spool, api)
    first, second = spool.append("shop", b"1"), spool.append("shop", b"2")
    await delivery.flush()
    assert api.got == [b"2"]
    assert (delivery.refusal(first), delivery.refusal(second)) == ("no such project", None)


async def test_two_flushes_at_once_send_each_report_once(tmp_path):
    spool, api = Spool(tmp_path), Api()
    delivery = Delivery(spool, api)
    for n in range(20):
        spool.append("shop", str(n).encode())
    await asyncio.gather(*(delivery.flush() for _ in range(5)))
    assert api.got == [str(n).encode() for n in range(20)]

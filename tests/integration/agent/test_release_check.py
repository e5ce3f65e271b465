"""`release.check` asks real commands, sockets, HTTP servers and files."""

import getpass
import os
import threading
import time
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from agent.releases.endpoints import answer_check
from agent.releases.installed import Installations
from agent.wire.executions import ExecuteRequest, Execution
from agent.wire.releases import CheckRequest
from tests.real_processes import wait_until


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/redirect":
            self.send_response(302)
            self.send_header("Location", "/version")
            self.end_headers()
            return
        self.send_response(503 if self.path == "/broken" else 200)
        self.end_headers()
        if self.path == "/endless":
            try:
                while True:
                    self.wfile.write(b"x" * 65536)
            except OSError:
                return
        if self.path == "/never":
            self.server.hold.wait(60)
            return
        self.wfile.write(b'{"version": "2.5"}')

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.hold = threading.Event()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.hold.set()
    server.shutdown()
    server.server_close()


@pytest.fixture
def ask(tmp_path):
    async def check(installations=None, **fields):
        request = CheckRequest.model_validate({"project_id": "shop", "work_dir": str(tmp_path), **fields})
        return await answer_check(request, installations or Installations(tmp_path / "state"))

    return check


async def result(ask, **check):
    return (await ask(checks=[check])).checks[0]


async def test_http_probe_and_its_pattern(ask, server):
    answer = await ask(
        version_probe={"type": "http", "url": server + "/version", "pattern": '"version": "([^"]+)"'}
    )
    assert (answer.installed, answer.version, answer.observed_version) == (True, None, "2.5")


@pytest.mark.parametrize("path", ["/broken", "/redirect"])
async def test_http_probe_wants_a_2xx_and_follows_nothing(ask, server, path):
    answer = await ask(version_probe={"type": "http", "url": server + path})
    assert answer.observed_version is None
    assert "answered" in answer.probe_error
    assert answer.installed is False


async def test_endless_body_is_read_up_to_its_limit(ask, server):
    check = {"type": "http", "url": server + "/endless", "timeout_s": 60}
    assert (await result(ask, **check)).passed


async def test_http_checks(ask, server):
    assert (await result(ask, type="http", url=server + "/broken", status=503)).passed
    wrong = await result(ask, type="http", url=server + "/x", status=204)
    assert (wrong.passed, wrong.detail) == (False, "answered 200, wanted 204")
    assert not (await result(ask, type="http", url=server + "/x", pattern="nope")).passed
    late = await result(ask, type="http", url=server + "/never", timeout_s=0.3)
    assert (late.passed, late.detail) == (False, "no answer within 0.3 s")


async def test_tcp_check(ask, server):
    port = int(server.rpartition(":")[2])
    assert (await result(ask, type="tcp", port=port)).passed
    closed = await result(ask, type="tcp", port=1)
    assert not closed.passed
    assert "no connection" in closed.detail


async def test_command_check_runs_in_the_work_dir(ask, tmp_path):
    (tmp_path / "here").touch()
    assert (await result(ask, type="command", command="test -e here")).passed
    failed = await result(ask, type="command", command="echo why >&2; exit 3")
    assert (failed.passed, failed.detail) == (False, "exited with 3: why")


async def test_command_probe(ask):
    assert (await ask(version_probe={"type": "command", "command": "echo 1.4"})).observed_version == "1.4"
    on_stderr = await ask(version_probe={"type": "command", "command": "echo v1 >&2"})
    assert on_stderr.observed_version == "v1"
    assert (
        await ask(version_probe={"type": "command", "command": "exit 4"})
    ).probe_error == "the command exited with 4"


async def test_command_sees_no_secret_of_the_agents(ask, monkeypatch):
    monkeypatch.setenv("HOIST_AGENT_TOKEN", "hunter2")
    answer = await ask(
        version_probe={"type": "command", "command": "env | grep -c HOIST; echo ${HOIST_AGENT_TOKEN:-none}"}
    )
    assert answer.probe_error is None
    assert "none" in answer.observed_version


async def test_command_that_hangs_is_killed_with_its_children(ask, tmp_path):
    command = f"sleep 3600 & echo $! > {tmp_path}/child; sleep 3600"
    hung = await result(ask, type="command", command=command, timeout_s=1)
    assert "was killed" in hung.detail
    child = (tmp_path / "child").read_text().strip()
    wait_until(lambda: not os.path.exists(f"/proc/{child}") or _is_zombie(child))


async def test_child_that_holds_the_output_does_not_hold_the_check(ask, tmp_path):
    started = time.monotonic()
    command = f"setsid sh -c 'echo $$ > {tmp_path}/child; exec sleep 3600' & until [ -s child ]; do :; done; echo ok"
    answer = await ask(version_probe={"type": "command", "command": command, "timeout_s": 60})
    os.kill(int((tmp_path / "child").read_text()), 9)
    assert answer.observed_version == "ok"
    assert time.monotonic() - started < 50


async def test_output_is_capped(ask):
    command = "head -c 3000000 /dev/zero | tr '\\0' x; exit 1"
    assert len((await result(ask, type="command", command=command, timeout_s=60)).detail) <= 500


async def test_missing_work_dir_and_user_are_told(ask, tmp_path):
    answer = await ask(work_dir=str(tmp_path / "no"), checks=[{"type": "command", "command": "true"}])
    assert "cannot run the command in" in answer.checks[0].detail
    answer = await ask(run_as="no-such-user", checks=[{"type": "command", "command": "true"}])
    assert "no such user" in answer.checks[0].detail


async def test_run_as(ask, tmp_path):
    user = "nobody" if os.geteuid() == 0 else getpass.getuser()
    answer = await ask(
        run_as=user, work_dir="/", version_probe={"type": "command", "command": "id -un; echo $USER"}
    )
    assert answer.observed_version.split() == [user, user]


async def test_file_probe_reads_regular_files_only(ask, tmp_path):
    (tmp_path / "VERSION").write_text("3.1\n")
    os.mkfifo(tmp_path / "fifo")
    assert (
        await ask(version_probe={"type": "file", "path": str(tmp_path / "VERSION")})
    ).observed_version == "3.1"
    for name, reason in (("fifo", "not a regular file"), (".", "not a regular file"), ("no", "No such file")):
        answer = await ask(version_probe={"type": "file", "path": f"{tmp_path}/{name}"})
        assert reason in answer.probe_error


async def test_probe_and_checks_run_at_once(ask, tmp_path):
    # Each waits for the other: one after the other would never end.
    first = "touch a; until [ -e b ]; do sleep 0.05; done"
    second = "touch b; until [ -e a ]; do sleep 0.05; done"
    answer = await ask(checks=[{"type": "command", "command": c, "timeout_s": 60} for c in (first, second)])
    assert [check.passed for check in answer.checks] == [True, True]


async def test_recorded_installation_is_answered_and_survives_a_restart(ask, tmp_path):
    at = datetime(2026, 1, 1, tzinfo=UTC)
    request = {
        "execution_id": "e",
        "release_id": "r",
        "project_id": "shop",
        "target_id": "t",
        "version": "1.0",
    }
    request |= {"script": "true", "work_dir": str(tmp_path)}
    done = Execution(execution_id="e", project_id="shop", state="succeeded", finished_at=at)
    installations = Installations(tmp_path / "state")
    installations.record(ExecuteRequest(**request, operation="install"), done)
    answer = await ask(Installations(tmp_path / "state"))
    assert (answer.installed, answer.version, answer.installed_at, answer.last_updated_at) == (
        True,
        "1.0",
        at,
        at,
    )
    installations.record(ExecuteRequest(**request, operation="uninstall"), done)
    assert (await ask(installations)).installed is False
    file = Path(tmp_path / "state" / "installed" / "shop.json")
    assert file.stat().st_mode & 0o777 == 0o600
    file.write_text("broken")
    assert (await ask(installations)).version is None


def _is_zombie(pid):
    try:
        return ") Z " in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return True

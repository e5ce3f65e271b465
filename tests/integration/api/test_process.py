"""`python -m api` as a process: how it starts, what it refuses, how it ends."""

import os
import signal
import socket
import stat
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from db.session import open_database
from tests.builders import create_fleet
from tests.served_api import closed_port

PATIENCE_S = 60


@pytest.fixture
def environ(tmp_path):
    names = ("PATH", "LANG", "TMPDIR", "PYTHONDONTWRITEBYTECODE")
    kept = {name: os.environ[name] for name in names if name in os.environ}
    return {**kept, "HOME": str(tmp_path), "PREFECT_HOME": str(tmp_path / "prefect"), "DO_NOT_TRACK": "1"}


@pytest.fixture
def run():
    started = []

    def start(environ, *arguments):
        process = subprocess.Popen(
            [sys.executable, "-m", "api", *arguments],
            env=environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


def wait_until_ready(process, url):
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        assert process.poll() is None, process.communicate()[0]
        try:
            if httpx.get(f"{url}/readyz", timeout=5, trust_env=False).status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.05)
    raise AssertionError("the API was not ready in time")


def test_first_start_makes_a_token_and_sigterm_ends_it(environ, run, tmp_path):
    port = closed_port()
    process = run({**environ, "HOIST_API_PORT": str(port)})
    url = f"http://127.0.0.1:{port}"
    wait_until_ready(process, url)
    file = tmp_path / ".hoist" / "operator.token"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    token = file.read_text().strip()
    headers = {"Authorization": f"Bearer {token}"}
    assert httpx.get(f"{url}/release/projects", headers=headers, trust_env=False).json() == []
    began = time.monotonic()
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=PATIENCE_S)
    assert time.monotonic() - began < 10
    assert process.returncode == 0, output
    assert token not in output


@pytest.mark.parametrize(
    ("settings", "mentions"),
    [
        ({"HOIST_API_HOST": "0.0.0.0"}, "without TLS"),
        ({"HOIST_API_PORT": "http"}, "HOIST_API_PORT"),
        ({"HOIST_API_OPERATOR_TOKEN": "short"}, "at least 16"),
        ({"PREFECT_API_URL": "http://prefect.example/api"}, "PREFECT_API_AUTH_STRING"),
        ({"HOIST_DATABASE_URL": "mysql://x:secret@y/z"}, "HOIST_DATABASE_URL"),
        ({"HOIST_API_TLS_CERT": "/nope", "HOIST_API_TLS_KEY": "/nope"}, "HOIST_API_TLS_CERT: cannot read"),
        ({"HOIST_TLS_CA": "/nope"}, "HOIST_TLS_CA: cannot read /nope"),
        ({"HOIST_TLS_CERT": "/nope"}, "HOIST_TLS_CERT: cannot read /nope"),
    ],
)
def test_settings_that_are_wrong_or_not_safe_are_refused_in_one_line(environ, run, settings, mentions):
    process = run({**environ, **settings})
    output, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 2
    assert mentions in output
    *told, refusal = output.splitlines()
    assert refusal.startswith("cannot ")
    assert all(" INFO " in line for line in told), output
    assert "secret" not in output


def test_help_lists_the_settings(environ, run):
    process = run(environ, "--help")
    output, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0
    assert "HOIST_API_TLS_CERT" in output


def test_sigterm_ends_it_although_a_call_waits_for_an_agent_that_is_silent(environ, run, tmp_path):
    port, database = closed_port(), f"sqlite:///{tmp_path / 'hoist.db'}"
    url = f"http://127.0.0.1:{port}"
    settings = {
        "HOIST_API_PORT": str(port),
        "HOIST_DATABASE_URL": database,
        "HOIST_API_OPERATOR_TOKEN": "t" * 32,
    }
    with socket.create_server(("127.0.0.1", 0)) as silent:
        settings["PREFECT_API_URL"] = f"http://127.0.0.1:{silent.getsockname()[1]}/api"
        process = run({**environ, **settings})
        wait_until_ready(process, url)
        api = httpx.Client(
            base_url=url, headers={"Authorization": "Bearer " + "t" * 32}, trust_env=False, timeout=60
        )
        opened = open_database(database)
        with opened.write() as session:
            create_fleet(session, {"a": "1.4"})
        opened.close()
        wanted = {"project_id": "shop", "version": "1.5", "operation": "update", "auto_select_clients": True}
        task = api.post("/release/tasks", json=wanted).json()["id"]
        with ThreadPoolExecutor(1) as pool:
            pool.submit(api.post, f"/release/tasks/{task}/start")
            time.sleep(2)
            began = time.monotonic()
            process.send_signal(signal.SIGTERM)
            assert process.wait(PATIENCE_S) == 0
            assert time.monotonic() - began < 10

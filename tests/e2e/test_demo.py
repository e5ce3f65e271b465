"""`make demo`: twice, the first one killed; the second proves its upgrade, stays, and ends whole with Ctrl-C."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

from deployments.demo.environment import CODE
from deployments.demo.leftovers import application_pids, stop_applications
from deployments.demo.processes import marked_pids, start_ticks, wait_until
from tests.e2e.survival import outlives_agent

_DEMO = [sys.executable, "-m", "deployments.demo"]


def test_demo_works_after_one_that_was_killed_and_ends_with_control_c(tmp_path, docker_engine):
    """The first has no Docker engine and does without, the second has one."""
    root = (tmp_path / "demo").resolve()
    home = tmp_path / "home"
    home.mkdir()
    env = os.environ | {"HOME": str(home)}
    nowhere = f"unix://{tmp_path}/none.sock"
    try:
        said = kill_one_in_the_middle(root, env | {"DOCKER_HOST": nowhere}, tmp_path)
        left_out = (
            f"the container project is left out, the rest goes on: no Docker engine answers at {nowhere}"
        )
        assert f"{left_out}: start one (dockerd) to see it\n" in said
        told, said = interrupt_one_that_stays(root, env | {"DOCKER_HOST": docker_engine.url}, tmp_path)
        assert "every application says it is 0.65.5" in said, said
        check_rows(told)
        check_container_rows(told, said)
        assert docker_engine.containers() == []
        assert not marked_pids(root)
        assert not application_pids(root)
        assert not (home / ".hoist").exists()
        assert not (home / ".prefect").exists()
    finally:
        stop_applications(root, patience_s=1)


def check_rows(told):
    """Three applications, each proven to be the new version."""
    rows = re.findall(r"^web-\d +0\..*$", told, re.MULTILINE)
    assert len(rows) == 3, told
    for row in rows:
        assert re.search(r"0\.64\.8 +0\.65\.5 +\d+ +\d+ +yes +(yes|no|\?)", row), row


def check_container_rows(told, said):
    """Three containers that run the second version, as the release API has it and as each says itself."""
    rows = re.findall(
        r"^(web-\d) +(hoist-demo-\S+) +1\.1 +(sha256:\w{12}) +running +\d+\.\d$", told, re.MULTILINE
    )
    assert [client for client, _, _ in rows] == ["web-1", "web-2", "web-3"], told
    assert len({name for _, name, _ in rows}) == 3
    assert len({image for _, _, image in rows}) == 1
    assert told.count("completed: 3 of 3") == 2
    assert "every application says it is 1.1" in said, said


def kill_one_in_the_middle(root, env, folder):
    """SIGKILL a demo once its first version runs: its servers and agents end, its applications don't. What it said."""
    err = folder / "err-of-killed"
    with err.open("w") as stderr:
        demo = subprocess.Popen(
            [*_DEMO, "--exit", "--dir", root], cwd=CODE, env=env, stdout=subprocess.DEVNULL, stderr=stderr
        )
    try:
        wait_until(
            "applications", lambda: len(application_pids(root)) >= 3 or demo.poll() is not None, timeout_s=180
        )
    finally:
        os.kill(demo.pid, signal.SIGKILL)
        demo.wait()
    wait_until("end of the killed demo's servers", lambda: not marked_pids(root), timeout_s=30)
    assert application_pids(root)
    return err.read_text()


def check_survival(root, told):
    """What the table says of each application comes true when its agent is killed."""
    rows = re.findall(r"^(web-\d).* (\d+) +\d+ +yes +(yes|no|\?)$", told, re.MULTILINE)
    assert len(rows) == 3, told
    for client, pid, said in rows:
        agent = agent_pid(root, client)
        outlived = outlives_agent(agent, int(pid), lambda agent=agent: end(agent))
        assert said == {True: "yes", False: "no", None: "?"}[outlived], told


def check_command_line(root, told):
    """What the demo says to type works as it stands, in any shell; the token is in nobody else's reach."""
    (typed,) = re.findall(r"^command line +(.*)$", told, re.MULTILINE)
    said = subprocess.run(typed, shell=True, capture_output=True, text=True, check=False, cwd="/", timeout=60)
    assert said.returncode == 0, said
    assert "0.65.5" in said.stdout
    assert (root / "operator.token").stat().st_mode & 0o777 == 0o600
    assert (root / "operator.token").read_text() not in told


def agent_pid(root, client):
    """The client's agent among the demo's processes."""
    mine = f"HOIST_AGENT_CLIENT_ID={client}".encode()
    [pid] = [
        pid
        for pid in marked_pids(root)
        if mine in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        and Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[1:3] == [b"-m", b"agent"]
    ]
    return pid


def end(pid):
    """SIGKILL it."""
    os.kill(pid, signal.SIGKILL)
    wait_until("end of the agent", lambda: start_ticks(pid) is None, timeout_s=10)


def interrupt_one_that_stays(root, env, folder):
    """Ctrl-C for a demo that has told everything: it ends well, soon; what it printed, and what it said of progress."""
    out, err = folder / "out", folder / "err"
    with out.open("w") as stdout, err.open("w") as stderr:
        demo = subprocess.Popen(
            [*_DEMO, "--dir", root], cwd=CODE, env=env, stdout=stdout, stderr=stderr, start_new_session=True
        )
    try:
        wait_until(
            "demo that stays",
            lambda: "press Ctrl-C" in err.read_text() or demo.poll() is not None,
            timeout_s=240,
        )
        assert demo.poll() is None, err.read_text() + out.read_text()
        assert len(application_pids(root)) >= 3
        check_command_line(root, out.read_text())
        check_survival(root, out.read_text())
        os.killpg(demo.pid, signal.SIGINT)  # to all of the terminal's foreground, as the key does
        assert demo.wait(30) == 0, err.read_text()
    finally:
        demo.kill()
        demo.wait()
    return out.read_text(), err.read_text()

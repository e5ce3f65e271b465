"""TEST-006, without systemd: scripts and applications outlive the agent, whatever kills it."""

import json
import signal
from pathlib import Path

import pytest

from tests.agents import AgentProcess, agent, is_running, start_ticks
from tests.real_processes import wait_until

__all__ = ["agent"]

METHODS = pytest.mark.parametrize("method", ["setsid", "nohup"])
START = '. "$HOIST_LIB"\nstart_detached app -- sleep 600\ndetached_pid app\n'


def application(ended_or_log: dict) -> tuple[int, int]:
    """(pid, start ticks) of the application that `START` started."""
    text = ended_or_log.get("output_tail", "")
    pid = int(text.split()[0])
    return pid, start_ticks(pid)


@METHODS
def test_application_keeps_pid_and_start_time_over_twenty_agent_kills(agent: AgentProcess, method: str):
    pid, ticks = application(agent.run("start", START, detach_method=method))
    for _ in range(20):
        agent.kill()
        assert start_ticks(pid) == ticks
        agent.start()
    assert is_running(pid)
    assert start_ticks(pid) == ticks
    assert agent.get("/v1/executions/start")["state"] == "succeeded"


@METHODS
def test_script_that_runs_when_its_agent_is_killed_goes_on(agent: AgentProcess, tmp_path: Path, method: str):
    agent.execute(
        "e1",
        f"echo before; until [ -e {tmp_path}/go ]; do sleep 0.1; done; echo after; exit 7",
        detach_method=method,
    )
    wait_until(lambda: agent.get("/v1/executions/e1")["output_bytes"])
    agent.kill()
    agent.start()
    assert agent.get("/v1/executions/e1")["state"] == "running"
    refused = agent.post("/v1/executions/e1/cancel", {"client_id": "web-2"})
    assert refused.status_code == 409
    (tmp_path / "go").touch()
    ended = agent.end_of("e1")
    assert (ended["state"], ended["exit_code"], ended["output_tail"]) == ("failed", 7, "before\nafter\n")


@METHODS
def test_script_that_ends_while_the_agent_is_dead_leaves_its_result(agent: AgentProcess, method: str):
    agent.execute("e1", "echo done; exit 5", detach_method=method)
    agent.kill()
    status = agent.state_dir / "executions" / "e1" / "status"
    wait_until(lambda: "-" not in status.read_text())
    agent.start()
    ended = agent.get("/v1/executions/e1")
    assert (ended["state"], ended["exit_code"], ended["output_tail"]) == ("failed", 5, "done\n")


@METHODS
def test_application_outlives_its_scripts_failure(agent: AgentProcess, method: str):
    ended = agent.run("e1", START + "exit 3", detach_method=method)
    assert ended["state"] == "failed"
    assert is_running(application(ended)[0])


@METHODS
def test_application_outlives_its_scripts_timeout_and_the_result_says_so(agent: AgentProcess, method: str):
    ended = agent.run("e1", START + "sleep 600", detach_method=method, timeout_s=3)
    pid, _ = application(ended)
    assert ended["state"] == "timed_out"
    assert is_running(pid)
    assert f"start_detached started it: sleep (pid {pid})" in ended["error"]


@METHODS
def test_application_outlives_its_scripts_cancellation_and_the_result_says_so(
    agent: AgentProcess, method: str
):
    agent.execute("e1", START + "sleep 600", detach_method=method)
    wait_until(lambda: agent.get("/v1/executions/e1")["output_bytes"])
    agent.post("/v1/executions/e1/cancel", {})
    ended = agent.end_of("e1")
    pid, _ = application(ended)
    assert ended["state"] == "cancelled"
    assert is_running(pid)
    assert f"(pid {pid})" in ended["error"]


@METHODS
def test_nohup_stays_in_the_agents_session_and_setsid_does_not(agent: AgentProcess, method: str):
    ended = agent.run("e1", "cut -d' ' -f6 /proc/$$/stat; grep SigIgn /proc/$$/status", detach_method=method)
    session, ignored = ended["output_tail"].splitlines()
    assert (int(session) == agent.process.pid) == (method == "nohup")
    assert bool(int(ignored.split()[1], 16) & 1) == (method == "nohup")


def test_agent_under_nohup_lets_no_script_inherit_an_ignored_hangup(tmp_path: Path):
    process = AgentProcess(tmp_path)
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        process.start()
        ended = process.run("e1", "grep SigIgn /proc/$$/status", detach_method="setsid")
        assert not int(ended["output_tail"].split()[1], 16) & 1
        process.process.send_signal(signal.SIGHUP)
        assert process.get("/v1/info")["client_id"] == "web-1"
    finally:
        signal.signal(signal.SIGHUP, before)
        process.close()


@pytest.mark.parametrize("shell", ["/bin/sh", "/bin/bash"])
def test_start_detached_keeps_arguments_environment_and_directory(
    agent: AgentProcess, tmp_path: Path, shell: str
):
    program = tmp_path / "program.sh"
    program.write_text(
        '#!/bin/sh\nprintf "%s\\n" "$@" "$TEXT" "$PWD" "${HOIST_EXECUTION_ID-none}"\nexec sleep 600\n'
    )
    program.chmod(0o755)
    script = f"""
        set -eu
        cd /
        . "$HOIST_LIB"
        start_detached app --log {tmp_path}/own.log -- {program} "it's" "" 'a $b `c` "d"' 'two
lines'
        start_detached app -- false
        detached_pid app
    """
    ended = agent.run("e1", script, interpreter=shell, env={"TEXT": "x'y\"z"})
    assert ended["state"] == "succeeded", ended
    log = tmp_path / "own.log"
    wait_until(lambda: log.read_text().count("\n") == 8)
    assert log.read_text() == 'it\'s\n\na $b `c` "d"\ntwo\nlines\nx\'y"z\n/\nnone\n'
    assert "runs already" in ended["output_tail"]


def test_stop_detached_ends_it_with_its_children_and_is_idempotent(agent: AgentProcess, tmp_path: Path):
    started = agent.run(
        "e1",
        f". $HOIST_LIB; start_detached app -- sh -c 'setsid -f sleep 600; echo $$ >{tmp_path}/pid; sleep 600; :'; detached_pid app",
    )
    pid = int(started["output_tail"])
    assert int((tmp_path / "pid").read_text()) == pid
    stopped = agent.run(
        "e2", ". $HOIST_LIB; stop_detached app; stop_detached app; detached_pid app || echo gone"
    )
    assert (stopped["state"], stopped["output_tail"]) == ("succeeded", "gone\n")
    assert not is_running(pid)
    again = agent.run("e3", ". $HOIST_LIB; start_detached app -- sleep 600; detached_pid app")
    assert int(again["output_tail"]) != pid


@pytest.mark.parametrize(("timeout_s", "said"), [("60", "drained\n"), ("1", ""), ("0", "")])
def test_stop_detached_kills_only_after_its_timeout(agent: AgentProcess, timeout_s: str, said: str):
    script = """
        . "$HOIST_LIB"
        start_detached app --log "$HOIST_WORK_DIR/own.log" -- \\
            sh -c 'drain() { trap "" TERM; sleep 3; echo drained; exit 0; }
                exec 2>/dev/null; trap drain TERM; touch up; while :; do sleep 0.1; done'
        until [ -e up ]; do sleep 0.1; done
        stop_detached app || echo "still there"
        cat "$HOIST_WORK_DIR/own.log"
    """
    ended = agent.run("e1", script, env={"HOIST_STOP_TIMEOUT_S": timeout_s})
    assert (ended["state"], ended["output_tail"]) == ("succeeded", said)


@pytest.mark.parametrize("wrong", ["abc", "1.5", "-1", "08", "10s", "5 "])
@pytest.mark.parametrize("shell", ["/bin/sh", "/bin/bash"])
def test_stop_timeout_that_is_no_whole_number_is_refused_before_anything_is_done(
    agent: AgentProcess, wrong: str, shell: str
):
    script = f"""{START}
        HOIST_STOP_TIMEOUT_S='{wrong}'
        stop_detached app || detached_pid app
        start_detached other -- sleep 601 || detached_pid other || echo "not started"
    """
    ended = agent.run("e1", script, interpreter=shell)
    pid = ended["output_tail"].split("\n")[0]
    assert ended["output_tail"].splitlines() == [
        pid,
        f"hoist: cannot stop app: HOIST_STOP_TIMEOUT_S is '{wrong}', not a whole number of seconds",
        pid,
        f"hoist: cannot start other: HOIST_STOP_TIMEOUT_S is '{wrong}', not a whole number of seconds",
        "not started",
    ]
    assert is_running(int(pid))


def test_application_that_cannot_start_fails_its_script(agent: AgentProcess):
    ended = agent.run(
        "e1", "set -e; . $HOIST_LIB; start_detached app -- /nonexistent/program; echo unreachable"
    )
    assert ended["state"] == "failed"
    assert "ended at once" in ended["output_tail"]
    assert "unreachable" not in ended["output_tail"]


def test_what_start_detached_writes_is_for_the_owner_alone(agent: AgentProcess):
    agent.run("e1", START, env={"PASSWORD": "hidden"})
    folder = agent.state_dir / "detached" / "shop"
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}


def test_success_is_recorded_as_installed(agent: AgentProcess, tmp_path: Path):
    agent.run("e1", "exit 1", operation="install", version="1.0")
    answer = agent.post(
        "/v1/commands/release.check", {"project_id": "shop", "work_dir": str(tmp_path / "work")}
    )
    assert answer.json()["version"] is None
    agent.execute("e2", "sleep 0.5", operation="install", version="1.0")
    agent.kill()
    agent.start()
    agent.end_of("e2")
    answer = agent.post(
        "/v1/commands/release.check", {"project_id": "shop", "work_dir": str(tmp_path / "work")}
    )
    assert (answer.json()["installed"], answer.json()["version"]) == (True, "1.0"), json.dumps(answer.json())

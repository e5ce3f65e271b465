"""Executions over HTTP, by a real agent: once per id, one per project, ended with all they started."""

import json
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from agent.wire.executions import Execution
from tasks.outcomes import failed_execution
from tests.agents import AgentProcess, agent, command_for, is_running, processes_mentioning
from tests.real_processes import wait_until

__all__ = ["agent"]


def test_result_has_exit_code_output_and_times(agent: AgentProcess):
    assert agent.execute("e1", "echo hello; echo oops >&2; exit 3")["state"] in ("running", "failed")
    ended = agent.end_of("e1")
    assert (ended["state"], ended["exit_code"], ended["error"]) == ("failed", 3, "the script exited with 3")
    assert ended["output_tail"] == "hello\noops\n"
    assert ended["output_bytes"] == 11
    assert ended["pid"] > 0
    assert ended["started_at"] <= ended["finished_at"]
    assert ended["duration_ms"] >= 0
    assert ended["detach_method"] in ("setsid", "systemd")
    assert failed_execution(Execution.model_validate(ended), "script").ran


def test_script_gets_its_environment_and_none_of_the_agents_secrets(tmp_path: Path):
    agent = AgentProcess(tmp_path, HOIST_AGENT_API_TOKEN="report-token-secret", SECRET_OF_THE_AGENT="x")
    try:
        agent.start()
        text = "two lines\nand a 'quote' $HOME `id`"
        ended = agent.run(
            "e1", "env -0 | tr '\\0\\n' '\\n|'; pwd", env={"EXTRA": text}, previous_version="1.0"
        )
    finally:
        agent.close()
    found = dict(line.split("=", 1) for line in ended["output_tail"].splitlines() if "=" in line)
    assert found["RELEASE_ID"] == "release-1"
    assert found["TARGET_ID"] == "target-1"
    assert found["RELEASE_OPERATION"] == "update"
    assert found["RELEASE_VERSION"] == "2.0"
    assert found["HOIST_PROJECT"] == "shop"
    assert found["HOIST_CLIENT_ID"] == "web-1"
    assert found["HOIST_PREVIOUS_VERSION"] == "1.0"
    assert found["HOIST_WORK_DIR"] == str(tmp_path / "work")
    assert Path(found["HOIST_LIB"]).name.startswith("hoist-")
    assert found["EXTRA"] == text.replace("\n", "|")
    assert not [name for name in found if name.startswith("HOIST_AGENT")]
    assert "SECRET_OF_THE_AGENT" not in found
    assert "report-token-secret" not in ended["output_tail"]


def test_secrets_travel_in_files_for_the_owner_alone_and_are_gone_at_the_end(agent: AgentProcess):
    agent.execute("e1", "exec sleep 600 # hidden-in-script", env={"PASSWORD": "hidden-in-env"})
    wait_until(lambda: agent.get("/v1/executions/e1")["pid"])
    folder = agent.state_dir / "executions" / "e1"
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}
    assert {path.stat().st_mode & 0o777 for path in (agent.state_dir, folder)} == {0o700}
    lines = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    assert "hidden-in" not in lines
    agent.post("/v1/executions/e1/cancel", {})
    assert agent.end_of("e1")["state"] == "cancelled"
    assert not (folder / "env").exists()
    assert not (folder / "script").exists()
    assert "hidden-in" not in (folder / "record.json").read_text()


def test_secrets_that_a_dead_agent_left_behind_are_gone_once_it_runs_again(agent: AgentProcess):
    agent.execute("e1", "true", env={"PASSWORD": "hidden-in-env"})
    agent.end_of("e1")
    left = [agent.state_dir / "executions" / "e1" / name for name in ("request.json", "env", "script")]
    agent.kill()
    for file in left:
        file.write_text("hidden-in-env")  # killed between the journalled end and their removal
    agent.start()
    assert agent.end_of("e1")["state"] == "succeeded"
    assert not any(file.exists() for file in left)


def test_same_id_fifty_times_at_once_and_after_a_kill_runs_once(agent: AgentProcess, tmp_path: Path):
    body = command_for(tmp_path, "e1", f"echo ran >>{tmp_path}/ran; sleep 1; exit 4")
    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(lambda _: agent.post("/v1/commands/release.execute", body), range(50)))
    assert sorted(answer.status_code for answer in answers) == [200] * 49 + [202]
    agent.kill()
    agent.start()
    again = agent.post("/v1/commands/release.execute", body)
    assert again.status_code == 200
    assert agent.end_of("e1")["exit_code"] == 4
    repeat = agent.post("/v1/commands/release.execute", body)
    assert (repeat.status_code, repeat.json()["state"]) == (200, "failed")
    assert (tmp_path / "ran").read_text() == "ran\n"


def test_same_id_with_another_script_is_refused(agent: AgentProcess, tmp_path: Path):
    agent.run("e1", "true")
    refused = agent.post("/v1/commands/release.execute", command_for(tmp_path, "e1", "false"))
    assert (refused.status_code, refused.json()["status"]) == (409, 409)
    assert refused.headers["content-type"] == "application/problem+json"


def test_second_execution_of_the_same_project_is_refused_naming_the_first(
    agent: AgentProcess, tmp_path: Path
):
    agent.execute("first", "sleep 600")
    refused = agent.post("/v1/commands/release.execute", command_for(tmp_path, "second", "true"))
    assert refused.status_code == 409
    assert "first" in refused.json()["detail"]
    assert agent.http.get("/v1/executions/second").status_code == 404
    assert agent.run("other", "true", project_id="another")["state"] == "succeeded"
    agent.post("/v1/executions/first/cancel", {})
    assert agent.end_of("first")["state"] == "cancelled"
    assert agent.run("second", "true")["state"] == "succeeded"


def test_lower_fence_is_refused_also_after_a_restart(agent: AgentProcess, tmp_path: Path):
    agent.execute("e1", "sleep 600", fence=7)
    wait_until(lambda: agent.get("/v1/executions/e1")["pid"])
    agent.kill()
    agent.start()
    for path, body in (
        ("/v1/commands/release.execute", command_for(tmp_path, "e2", "true", fence=6)),
        ("/v1/executions/e1/cancel", {"fence": 6}),
    ):
        refused = agent.post(path, body)
        assert refused.status_code == 409
        assert "fence 6" in refused.json()["detail"]
    assert agent.get("/v1/executions/e1")["state"] == "running"
    assert agent.post("/v1/executions/e1/cancel", {"fence": 7}).status_code == 202


def test_cancel_of_what_never_came_keeps_a_run_with_a_lower_fence_from_sending_it(
    agent: AgentProcess, tmp_path: Path
):
    project = command_for(tmp_path, "e1", "true")["project_id"]
    unknown = agent.post("/v1/executions/e1/cancel", {"project_id": project, "fence": 8})
    assert unknown.status_code == 404
    agent.kill()
    agent.start()
    late = agent.post("/v1/commands/release.execute", command_for(tmp_path, "e1", "true", fence=7))
    assert (late.status_code, late.json()["title"]) == (409, "Lower fence")
    assert agent.post("/v1/executions/e1/cancel", {"project_id": project, "fence": 7}).status_code == 409
    assert agent.run("e1", "true", fence=8)["state"] == "succeeded"


def test_another_hosts_client_id_is_refused(agent: AgentProcess, tmp_path: Path):
    body = command_for(tmp_path, "e1", f"touch {tmp_path}/ran", client_id="web-2")
    assert agent.post("/v1/commands/release.execute", body).status_code == 409
    assert agent.http.get("/v1/executions/e1").status_code == 404
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("method", ["setsid", "nohup"])
def test_child_that_keeps_the_output_open_does_not_hold_it_up(agent: AgentProcess, method: str):
    ended = agent.run("e1", "sleep 600 & echo done", detach_method=method, timeout_s=300)
    assert (ended["state"], ended["output_tail"], ended["detach_method"]) == ("succeeded", "done\n", method)


@pytest.mark.parametrize("method", ["setsid", "nohup"])
def test_script_that_ignores_sigterm_is_killed_with_its_children(
    agent: AgentProcess, tmp_path: Path, method: str
):
    script = """
        trap '' TERM
        (trap '' TERM; sleep 600) &
        setsid -f sleep 601
        env -i setsid sh -c 'sleep 602; :' STATE &
        sleep 603
    """.replace("STATE", str(agent.state_dir))
    ended = agent.run("e1", script, detach_method=method, timeout_s=1)
    assert ended["state"] == "timed_out"
    assert ended["exit_code"] == 137
    assert "after 1 s" in ended["error"]
    assert [pid for pid in processes_mentioning(str(agent.state_dir)) if pid != agent.process.pid] == []


@pytest.mark.parametrize("method", ["setsid", "nohup"])
def test_timeout_is_kept_by_the_wrapper_when_the_agent_is_dead(agent: AgentProcess, method: str):
    agent.execute("e1", "trap '' TERM; setsid sleep 600 & sleep 600", detach_method=method, timeout_s=2)
    wait_until(lambda: agent.get("/v1/executions/e1")["pid"])
    agent.kill()
    folder = agent.state_dir / "executions" / "e1"
    wait_until(lambda: "-" not in (folder / "status").read_text())
    wait_until(lambda: not processes_mentioning(str(agent.state_dir)))
    agent.start()
    ended = agent.end_of("e1")
    assert (ended["state"], ended["exit_code"]) == ("timed_out", 137)


def test_one_gigabyte_of_output_leaves_sixteen_mebibytes_on_disk(agent: AgentProcess):
    ended = agent.run("e1", "echo first; head -c 1G /dev/zero; echo last")
    assert ended["state"] == "succeeded"
    assert ended["output_bytes"] == 6 + 1024**3 + 5
    assert ended["output_tail"].endswith("last\n")
    output = agent.state_dir / "executions" / "e1" / "output"
    assert output.stat().st_blocks * 512 <= 16 * 1024 * 1024 + 64 * 1024
    first = agent.get("/v1/executions/e1/log")
    assert first["output"].startswith("first\n")
    assert (first["complete"], first["skipped_bytes"]) == (False, 0)
    edge = agent.get("/v1/executions/e1/log", offset=1024 * 1024)
    assert edge["skipped_bytes"] > 1000 * 1024 * 1024
    assert edge["next_offset"] > edge["skipped_bytes"]
    end = agent.get("/v1/executions/e1/log", offset=ended["output_bytes"] - 5)
    assert end == {
        "output": "last\n",
        "next_offset": ended["output_bytes"],
        "complete": True,
        "skipped_bytes": 0,
    }


def test_output_is_bounded_by_the_wrapper_when_the_agent_is_dead(agent: AgentProcess):
    agent.execute("e1", "sleep 1; head -c 200M /dev/zero; echo last; exec sleep 600")
    agent.kill()
    output = agent.state_dir / "executions" / "e1" / "output"
    wait_until(lambda: output.stat().st_size > 200 * 1024 * 1024)
    wait_until(lambda: output.stat().st_blocks * 512 <= 16 * 1024 * 1024 + 64 * 1024)


def test_log_is_read_while_the_script_runs(agent: AgentProcess):
    agent.execute("e1", "printf 'caf\\303'; sleep 600")
    wait_until(lambda: agent.get("/v1/executions/e1")["output_bytes"] == 4)
    assert agent.get("/v1/executions/e1/log") == {
        "output": "caf",
        "next_offset": 3,
        "complete": False,
        "skipped_bytes": 0,
    }


def test_cancel_ends_the_script_and_what_it_started(agent: AgentProcess):
    agent.execute("e1", "sleep 600 & setsid sleep 600 & sleep 600")
    assert agent.post("/v1/executions/e1/cancel", {}).status_code == 202
    ended = agent.end_of("e1")
    assert (ended["state"], ended["error"]) == ("cancelled", "the script was cancelled")
    assert [pid for pid in processes_mentioning(str(agent.state_dir)) if pid != agent.process.pid] == []
    assert agent.post("/v1/executions/e1/cancel", {}).json()["state"] == "cancelled"


def test_what_the_host_cannot_do_is_refused_before_anything_runs(agent: AgentProcess, tmp_path: Path):
    impossible: list[dict] = [{"interpreter": "/nonexistent/bash"}, {"run_as": "nobody-of-that-name"}]
    impossible += [{"env": {"RELEASE_VERSION": "9"}}, {"env": {"OPTIND": "x"}}, {"work_dir": "/dev/null/x"}]
    if "systemd" not in agent.get("/v1/info")["detach_methods"]:
        impossible.append({"detach_method": "systemd"})
    for number, fields in enumerate(impossible):
        body = command_for(tmp_path, f"e{number}", f"touch {tmp_path}/ran", **fields)
        refused = agent.post("/v1/commands/release.execute", body)
        assert refused.status_code == 422, fields
        assert [one["field"] for one in refused.json()["errors"]] == list(fields)
        assert agent.http.get(f"/v1/executions/e{number}").status_code == 404
    assert not (tmp_path / "ran").exists()
    assert agent.run("after", "true")["state"] == "succeeded"


def test_full_disk_is_refused_before_anything_is_spawned(tmp_path: Path):
    agent = AgentProcess(tmp_path, HOIST_AGENT_MIN_FREE_BYTES=str(2**62))
    try:
        agent.start()
        refused = agent.post(
            "/v1/commands/release.execute", command_for(tmp_path, "e1", f"touch {tmp_path}/ran")
        )
        assert (refused.status_code, refused.json()["status"]) == (507, 507)
        assert agent.http.get("/v1/executions/e1").status_code == 404
    finally:
        agent.close()
    assert not (tmp_path / "ran").exists()


def test_script_that_is_not_detached_ends_with_the_agent(agent: AgentProcess):
    started = agent.execute("e1", "sleep 600", detach_process=False)
    assert started["detach_method"] is None
    assert agent.stop() == 0
    agent.start()
    ended = agent.end_of("e1")
    assert ended["state"] == "cancelled"
    assert "not detached" in ended["error"]
    agent.execute("e2", "sleep 600", detach_process=False)
    pid = wait_until(lambda: agent.get("/v1/executions/e2")["pid"])
    agent.kill()
    wait_until(lambda: not is_running(pid))


def test_reboot_in_between_is_lost(agent: AgentProcess):
    agent.execute("e1", "sleep 600")
    wait_until(lambda: agent.get("/v1/executions/e1")["pid"])
    agent.kill()
    path = agent.state_dir / "executions" / "e1" / "record.json"
    record = json.loads(path.read_text())
    path.write_text(json.dumps({**record, "boot_id": "another"}))
    started = path.with_name("started")
    pid, ticks, _, end = started.read_text().split()
    started.write_text(f"{pid} {ticks} another {end}\n")
    agent.start()
    ended = agent.end_of("e1")
    assert (ended["state"], ended["exit_code"]) == ("lost", None)
    assert "rebooted" in ended["error"]


def test_wrapper_that_is_gone_without_a_status_is_lost(agent: AgentProcess):
    agent.execute("e1", "sleep 600")
    started = agent.state_dir / "executions" / "e1" / "started"
    wait_until(lambda: started.exists() and started.read_text().endswith(".\n"))
    subprocess.run(["kill", "-KILL", started.read_text().split()[0]], check=True)
    ended = agent.end_of("e1")
    assert (ended["state"], ended["exit_code"]) == ("lost", None)


def test_execution_that_was_never_spawned_did_not_run_and_never_will(agent: AgentProcess):
    agent.run("e1", "true")
    agent.kill()
    folder = agent.state_dir / "executions" / "e1"
    record = json.loads((folder / "record.json").read_text())
    (folder / "record.json").write_text(json.dumps({**record, "state": "queued", "finished_at": None}))
    (folder / "started").unlink()
    (folder / "status").write_text("-" * 14 + ".\n")
    agent.start()
    ended = agent.end_of("e1")
    assert ended["state"] == "failed"
    assert "did not run" in ended["error"]
    outcome = failed_execution(Execution.model_validate(ended), "script")
    assert (outcome.status, outcome.ran) == ("failed", False)
    assert "the script was not started" in outcome.error
    wrapper = Path(__file__).parents[3] / "agent" / "lib" / "wrapper.sh"
    (folder / "script").write_text(f"touch {agent.folder}/ran\n")
    subprocess.run(["/bin/sh", str(wrapper), str(folder)], check=True)
    assert not (agent.folder / "ran").exists()


def test_agent_ends_within_ten_seconds_of_sigterm_with_a_long_poll_open(agent: AgentProcess):
    agent.execute("e1", "sleep 600")
    with ThreadPoolExecutor(1) as pool:
        poll = pool.submit(lambda: agent.http.get("/v1/executions/e1", params={"wait_s": 60}))
        wait_until(poll.running)
        agent.process.terminate()
        assert agent.process.wait(10) == 0
        poll.exception()


def test_agent_ends_within_ten_seconds_of_sigterm_although_a_probe_runs(agent: AgentProcess):
    probe = {"type": "command", "command": "sleep 40", "timeout_s": 60}
    body = {"project_id": "p", "work_dir": "/tmp", "version_probe": probe}
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(lambda: agent.http.post("/v1/commands/release.check", json=body))
        wait_until(lambda: processes_mentioning("sleep 40"))
        agent.process.terminate()
        assert agent.process.wait(10) == 0
        asked.exception()


def test_agent_answers_although_a_probe_s_pattern_would_take_for_ever(agent: AgentProcess):
    probe = {"type": "command", "command": f"printf {'a' * 60}", "pattern": "(a+)+$b"}
    body = {"project_id": "p", "work_dir": "/tmp", "version_probe": probe}
    answer = agent.http.post("/v1/commands/release.check", json=body, timeout=10)
    assert "does not match" in answer.json()["probe_error"]
    assert agent.http.get("/healthz", timeout=5).status_code == 200

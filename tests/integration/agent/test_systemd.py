"""TEST-006 in a real systemd: the agent as a unit, stopped, restarted and killed; units of applications."""

import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.agents import ROOT, TOKEN, AgentProcess
from tests.real_processes import wait_until
from tests.systemd import SystemdSandbox, systemd

__all__ = ["systemd"]

UNIT = ROOT / "deployments" / "hoist-agent.service"
APPLICATION = "hoist-app-web-1:shop:app.service"
START = '. "$HOIST_LIB"\nstart_detached app -- sleep 600\ndetached_pid app\n'
# It takes its time over SIGTERM, and says so when it has had it.
DRAINS = """. "$HOIST_LIB"
start_detached app %s --log "$HOIST_WORK_DIR/drains.log" -- \\
    sh -c 'drain() { trap "" TERM; sleep 4; echo drained; exit 0; }
        exec 2>/dev/null; trap drain TERM; echo serves; while :; do sleep 0.1; done'
until grep -q serves "$HOIST_WORK_DIR/drains.log"; do sleep 0.1; done
"""
STOPS = """. "$HOIST_LIB"
stop_detached app
detached_pid app || echo gone
cat "$HOIST_WORK_DIR/drains.log"
"""
PERSISTENT = START.replace("start_detached app", "start_detached app --persistent")


class AgentUnit(AgentProcess):
    """The agent as a unit in a sandbox, spoken to from outside: the network is the same."""

    def __init__(self, sandbox: SystemdSandbox, folder: Path, unit: str) -> None:
        super().__init__(folder)
        self.sandbox = sandbox
        sandbox.run("ln", "-s", sys.prefix, "/opt/hoist-agent")
        lines = [
            f"{name}={value}"
            for name, value in self.environment.items()
            if name not in ("PATH", "HOME", "LANG")
        ]
        sandbox.write("/etc/hoist-agent/agent.env", "\n".join(lines) + "\n", mode=0o600)
        sandbox.write("/etc/systemd/system/hoist-agent.service", unit)
        sandbox.run("systemctl", "daemon-reload")

    def start(self) -> "AgentUnit":
        self.sandbox.run("systemctl", "enable", "--now", "hoist-agent")
        return self.wait()

    def wait(self) -> "AgentUnit":
        wait_until(self._answers)
        return self

    def kill(self) -> None:
        """SIGKILL; systemd starts it again."""
        before = self.main_pid()
        self.sandbox.run("systemctl", "kill", "--kill-whom=main", "--signal=KILL", "hoist-agent")
        wait_until(lambda: self.main_pid() not in ("0", before))
        self.wait()

    def restart(self) -> None:
        self.sandbox.run("systemctl", "restart", "hoist-agent")
        self.wait()

    def main_pid(self) -> str:
        return self.sandbox.run("systemctl", "show", "-p", "MainPID", "--value", "hoist-agent").strip()

    def identity(self, pid: int) -> str:
        """Empty when there is no such process in there."""
        return self.sandbox.run("ps", "-o", "pid=,lstart=", "-p", str(pid), check=False).strip()

    def survival(self) -> dict:
        """What the agent says about the application."""
        body = {"project_id": "shop", "rules": [{"type": "cmdline", "pattern": "sleep 600", "name": "app"}]}
        return wait_until(lambda: self.post("/v1/commands/process.collect", body).json()["processes"])[0]

    def close(self) -> None:
        self.http.close()

    def _answers(self) -> bool:
        try:
            return self.http.get("/v1/info", headers={"Authorization": f"Bearer {TOKEN}"}).status_code == 200
        except httpx.TransportError:
            return False


@pytest.fixture
def unit(systemd: SystemdSandbox, tmp_path: Path) -> Iterator[AgentUnit]:
    """The agent from the shipped unit file."""
    agent = AgentUnit(systemd, tmp_path / "shared", UNIT.read_text())
    try:
        yield agent.start()
    finally:
        agent.close()


@pytest.mark.parametrize("method", ["setsid", "nohup", "systemd"])
def test_application_and_script_survive_stop_restart_and_kill_of_the_shipped_unit(
    unit: AgentUnit, method: str
):
    pid = int(unit.run("start", START, detach_method=method)["output_tail"])
    born = unit.identity(pid)
    assert born
    go = unit.folder / "go"
    unit.execute("long", f"until [ -e {go} ]; do sleep 0.1; done; echo through; exit 6", detach_method=method)
    unit.kill()
    unit.restart()
    unit.sandbox.run("systemctl", "stop", "hoist-agent")
    assert unit.identity(pid) == born
    unit.start()
    assert unit.get("/v1/executions/long")["state"] == "running"
    go.touch()
    ended = unit.end_of("long")
    assert (ended["state"], ended["exit_code"], ended["output_tail"]) == ("failed", 6, "through\n")
    assert ended["detach_method"] == method
    assert unit.identity(pid) == born
    assert unit.survival()["survives_agent_stop"] is True


def test_with_the_default_kill_mode_the_agent_says_that_setsid_does_not_survive(
    systemd: SystemdSandbox, tmp_path: Path
):
    agent = AgentUnit(systemd, tmp_path / "shared", UNIT.read_text().replace("KillMode=process\n", ""))
    try:
        agent.start()
        pid = int(agent.run("start", START, detach_method="setsid")["output_tail"])
        said = agent.survival()
        assert said["survives_agent_stop"] is False
        assert (
            "control group" in said["survival_reason"].lower() or "cgroup" in said["survival_reason"].lower()
        )
        systemd.run("systemctl", "stop", "hoist-agent")
        assert agent.identity(pid) == ""
        agent.start()
        pid = int(agent.run("again", START, detach_method="systemd")["output_tail"])
        assert agent.survival()["survives_agent_stop"] is True
        systemd.run("systemctl", "stop", "hoist-agent")
        assert agent.identity(pid)
    finally:
        agent.close()


def test_application_outlives_failure_timeout_and_cancellation_of_its_script(unit: AgentUnit):
    failed = unit.run("fails", START + "exit 3", detach_method="systemd")
    assert (failed["state"], failed["exit_code"]) == ("failed", 3)
    pid = int(failed["output_tail"])
    born = unit.identity(pid)
    assert born
    again = START.replace("app", "second")
    timed_out = unit.run("times-out", again + "sleep 601", detach_method="systemd", timeout_s=5)
    assert timed_out["state"] == "timed_out"
    assert "start_detached started it" in timed_out["error"]
    second = int(timed_out["output_tail"].split()[0])
    assert unit.identity(second)
    unit.execute("cancelled", START.replace("app", "third") + "sleep 602", detach_method="systemd")
    wait_until(lambda: unit.get("/v1/executions/cancelled")["output_bytes"])
    unit.post("/v1/executions/cancelled/cancel", {})
    cancelled = unit.end_of("cancelled")
    assert cancelled["state"] == "cancelled"
    assert unit.identity(int(cancelled["output_tail"].split()[0]))
    assert unit.identity(pid) == born
    stopped = unit.run(
        "stops", '. "$HOIST_LIB"; stop_detached app; detached_pid app || echo gone', detach_method="systemd"
    )
    assert stopped["output_tail"] == "gone\n"
    assert unit.identity(pid) == ""


def test_script_that_ignores_sigterm_is_killed_with_its_children_and_one_that_holds_its_output_is_not_waited_for(
    unit: AgentUnit,
):
    script = "trap '' TERM; (trap '' TERM; sleep 611) & setsid -f sleep 612; sleep 613"
    ended = unit.run("stubborn", script, detach_method="systemd", timeout_s=1)
    assert (ended["state"], ended["exit_code"], ended["detach_method"]) == ("timed_out", 137, "systemd")
    left = unit.sandbox.run("ps", "-eo", "args=").splitlines()
    assert [line for line in left if line.startswith("sleep 61")] == []
    held = unit.run("holds", "sleep 620 & echo done", detach_method="systemd", timeout_s=300)
    assert (held["state"], held["output_tail"]) == ("succeeded", "done\n")


def test_plain_background_application_survives_the_end_of_its_scripts_unit(unit: AgentUnit):
    ended = unit.run(
        "e1", "setsid nohup sleep 600 >/dev/null 2>&1 & echo $!; exit 3", detach_method="systemd"
    )
    assert (ended["state"], ended["exit_code"]) == ("failed", 3)
    assert unit.identity(int(ended["output_tail"]))


def test_persistent_application_comes_back_after_a_failure_and_a_reboot(unit: AgentUnit):
    ended = unit.run("e1", PERSISTENT, detach_method="systemd", env={"PASSWORD": "hidden"})
    pid = int(ended["output_tail"])
    assert unit.survival()["survives_reboot"] is True
    shown = unit.sandbox.run("systemctl", "show", APPLICATION)
    assert "hidden" not in shown
    assert "Restart=on-failure" in shown
    unit.sandbox.run("kill", "-KILL", str(pid))
    look = '. "$HOIST_LIB"; until p=$(detached_pid app) && [ "$p" != %s ]; do sleep 0.1; done; echo $p'
    assert int(unit.run("e2", look % pid)["output_tail"]) != pid
    unit.sandbox.reboot()
    unit.wait()
    assert int(unit.run("e3", look % 0)["output_tail"]) > 0
    assert unit.survival()["survives_reboot"] is True
    unit.run("e4", '. "$HOIST_LIB"; stop_detached app')
    assert unit.sandbox.run("systemctl", "is-enabled", APPLICATION, check=False).strip() != "enabled"
    assert unit.run("e5", START.replace("app", "passing"))["state"] == "succeeded"
    assert unit.survival()["survives_reboot"] is False


@pytest.mark.parametrize("persistent", ["", "--persistent"])
@pytest.mark.parametrize(
    ("at_start", "at_stop", "said"),
    [("1", "60", "serves\ndrained\n"), ("60", "1", "serves\n")],
)
def test_stop_detached_gives_a_unit_the_time_that_is_wanted_at_the_stop(
    unit: AgentUnit, persistent: str, at_start: str, at_stop: str, said: str
):
    started = unit.run(
        "e1", DRAINS % persistent, detach_method="systemd", env={"HOIST_STOP_TIMEOUT_S": at_start}
    )
    assert started["state"] == "succeeded", started
    stopped = unit.run("e2", STOPS, detach_method="systemd", env={"HOIST_STOP_TIMEOUT_S": at_stop})
    assert (stopped["state"], stopped["output_tail"]) == ("succeeded", "gone\n" + said)
    assert unit.sandbox.run("find", "/run/systemd/system", "/etc/systemd/system", "-name", "hoist-app*") == ""


@pytest.mark.parametrize("persistent", ["", "--persistent"])
def test_unit_that_is_stopped_without_hoist_has_the_time_that_was_wanted_at_its_start(
    unit: AgentUnit, persistent: str
):
    for wanted, usec in (("120", "2min 1ms"), ("0", "1ms"), ("", "10.001000s")):
        script = f". $HOIST_LIB; stop_detached app; start_detached app {persistent} -- sleep 600"
        unit.run(f"e{wanted}", script, detach_method="systemd", env={"HOIST_STOP_TIMEOUT_S": wanted})
        shown = unit.sandbox.run("systemctl", "show", "--property=TimeoutStopUSec", "--value", APPLICATION)
        assert shown.strip() == usec

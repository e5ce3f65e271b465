"""The wheel that goes on hosts: the agent alone, installed with what it asks for, in an environment of its own."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from agent import __version__
from tests.agents import ROOT, AgentProcess
from tests.real_processes import wait_until
from tests.report_receiver import ReleaseApi, api

__all__ = ["api"]

UV = Path(sys.prefix) / "bin" / "uv"
SERVERS = (
    "prefect",
    "sqlalchemy",
    "fastapi",
    "alembic",
    "psycopg",
    "cryptography",
    "db",
    "tasks",
    "api",
    "flows",
)
ON_FIRST_USE = ("docker", "kubernetes", "requests")


def run(*argv: object) -> str:
    done = subprocess.run(
        [str(one) for one in argv], capture_output=True, text=True, check=False, timeout=240, cwd="/"
    )
    assert done.returncode == 0, f"{argv}: {done.stdout}{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    run(UV, "build", "--wheel", "--out-dir", folder, ROOT)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def host(wheel: Path) -> Path:
    """The `bin` of an environment that has nothing but the wheel and what it asks for, in the locked versions."""
    folder = wheel.parent / "host"
    run(UV, "venv", "--python", sys.executable, folder)
    python = folder / "bin" / "python"
    locked = ("--constraint", ROOT / "requirements.lock")
    run(UV, "pip", "install", "--compile-bytecode", "--python", python, *locked, wheel)
    return python.parent


class InstalledAgent(AgentProcess):
    """Started as on a host: by an installed command, with nothing of this checkout on its path."""

    def __init__(self, folder: Path, *command: object, **settings: str) -> None:
        super().__init__(folder, **settings)
        self.command = tuple(str(one) for one in command)

    @property
    def environment(self) -> dict[str, str]:
        return {name: value for name, value in super().environment.items() if name != "PYTHONPATH"}


def test_wheel_holds_the_agent_alone(wheel: Path):
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    folders = {name.split("/")[0] for name in names}
    assert {folder for folder in folders if not folder.endswith(".dist-info")} == {"agent"}
    assert {"agent/lib/wrapper.sh", "agent/lib/hoist.sh", "agent/executions/executions.py"} <= set(names)


def test_nothing_of_the_server_is_there(host: Path):
    program = (
        "import importlib.util, sys\n"
        "print([name for name in sys.argv[1:] if importlib.util.find_spec(name) is not None])\n"
    )
    assert run(host / "python", "-c", program, *SERVERS).strip() == "[]"


def test_docker_is_there_but_imported_on_first_use(host: Path):
    program = (
        "import sys, importlib.util, agent.__main__, agent.client\n"
        "assert agent.__file__.startswith(sys.prefix), agent.__file__\n"
        "assert importlib.util.find_spec('docker') is not None\n"
        "print([name for name in sys.argv[1:] if name in sys.modules])\n"
    )
    assert run(host / "python", "-c", program, *ON_FIRST_USE).strip() == "[]"


def test_both_commands_say_what_they_are(host: Path):
    for command in ([host / "hoist-agent"], [host / "python", "-m", "agent"]):
        assert "HOIST_AGENT_" in run(*command, "--help")
        assert run(*command, "--version").strip() == f"hoist-agent {__version__}"


@pytest.mark.parametrize("command", [("hoist-agent",), ("python", "-m", "agent")], ids=" ".join)
def test_installed_agent_answers_runs_a_script_and_stops(host: Path, tmp_path: Path, command: tuple):
    agent = InstalledAgent(tmp_path, host / command[0], *command[1:])
    try:
        agent.start()
        assert agent.http.get("/healthz", headers={"Authorization": ""}).json() == {"status": "ok"}
        assert agent.get("/v1/info")["agent_version"] == __version__
        done = agent.run("e1", 'echo "from the wheel: $HOIST_PROJECT"; test -r "$HOIST_LIB"')
        assert (done["state"], done["output_tail"]) == ("succeeded", "from the wheel: shop\n")
        assert agent.stop() == 0
    finally:
        agent.close()


def test_agent_at_rest_needs_at_most_55_megabytes(host: Path, tmp_path: Path, api: ReleaseApi):
    reporting = {"HOIST_AGENT_API_URL": api.url, "HOIST_AGENT_API_TOKEN": "report-token"}
    resting = InstalledAgent(tmp_path, host / "hoist-agent", **reporting)
    rules = [
        {"type": "name", "pattern": "*", "name": "all"},
        {"type": "cmdline", "pattern": "hoist-agent", "name": "agent"},
        {"type": "port", "pattern": "22", "name": "ssh"},
    ]
    config = {"rules": rules, "collect_interval": 5}
    body = {"version": "1.0", "release_id": "r", "process_config": config}
    try:
        resting.start()
        assert resting.http.put("/v1/monitors/shop", json=body).status_code == 200
        wait_until(lambda: len(api.reports) >= 3)
        status = Path(f"/proc/{resting.process.pid}/status").read_text()
        processes = [len(report["processes"]) for report in api.reports]
    finally:
        resting.close()
    assert min(processes) > 5, "the agent collected nothing: this would measure its sleep"
    assert int(status.split("VmRSS:")[1].split()[0]) <= 55 * 1024

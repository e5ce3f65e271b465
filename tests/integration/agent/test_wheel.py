"""The wheel that goes on hosts: the agent alone, and nothing of the server needed to run it."""

import subprocess
import sys
import zipfile
from pathlib import Path

from tests.agents import ROOT


def test_wheel_holds_the_agent_alone_and_runs_without_the_servers_packages(tmp_path: Path):
    uv = Path(sys.prefix) / "bin" / "uv"
    subprocess.run(
        [uv, "build", "--wheel", "--out-dir", tmp_path, ROOT], check=True, capture_output=True, text=True
    )
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        archive.extractall(tmp_path / "site")
    folders = {name.split("/")[0] for name in names}
    assert {folder for folder in folders if not folder.endswith(".dist-info")} == {"agent"}
    assert {"agent/lib/wrapper.sh", "agent/lib/hoist.sh", "agent/executions/executions.py"} <= set(names)
    program = (
        "import sys, agent.__main__, agent.client\n"
        "assert agent.__file__.startswith(sys.argv[1]), agent.__file__\n"
        "bad = {'prefect', 'sqlalchemy', 'fastapi', 'db', 'tasks', 'api', 'flows', 'docker', 'kubernetes'}\n"
        "sys.exit(', '.join(sorted(bad & sys.modules.keys())) or 0)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "site")],
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path / "site"), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr

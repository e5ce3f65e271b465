"""Where the sources are installed for work on them, `hoist` is a command; the wheel that goes on hosts has none."""

import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

from tests.agents import ROOT

UV = Path(sys.prefix) / "bin" / "uv"


def run(*argv, **options):
    done = subprocess.run(
        [str(one) for one in argv],
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
        cwd="/",
        **options,
    )
    assert done.returncode == 0, f"{argv}: {done.stdout}{done.stderr}"
    return done.stdout


def test_editable_installation_has_the_command(tmp_path):
    run(UV, "venv", "--python", sys.executable, tmp_path / "env")
    python = tmp_path / "env" / "bin" / "python"
    run(UV, "pip", "install", "--no-deps", "--python", python, "--editable", ROOT)
    libraries = {"PYTHONPATH": sysconfig.get_paths()["purelib"]}
    assert "Upgrade software on fleets" in run(python.parent / "hoist", "--help", env=libraries)
    assert (python.parent / "hoist-agent").exists()


def test_wheel_for_hosts_has_not(tmp_path):
    run(UV, "build", "--wheel", "--out-dir", tmp_path, ROOT)
    (built,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(built) as archive:
        names = archive.namelist()
        (scripts,) = (name for name in names if name.endswith("entry_points.txt"))
        assert archive.read(scripts).decode().split() == [
            "[console_scripts]",
            "hoist-agent",
            "=",
            "agent.__main__:main",
        ]
    assert not [name for name in names if ".data/" in name or name.startswith(("api/", "deployments/"))]

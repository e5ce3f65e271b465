"""The agent as a host has it: its own wheel, in an environment with nothing but what it asks for.

In the development environment httpx finds rich and imports it, which costs 3 MB that no host has.
"""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
UV = Path(sys.prefix) / "bin" / "uv"


def install_agent(folder: Path) -> Path:
    """The interpreter of an environment below `folder` that the wheel was installed into, in the locked versions."""
    _run(UV, "build", "--wheel", "--out-dir", folder, ROOT)
    (wheel,) = folder.glob("*.whl")
    _run(UV, "venv", "--python", sys.executable, folder / "host")
    python = folder / "host" / "bin" / "python"
    locked = ("--constraint", ROOT / "requirements.lock")
    _run(UV, "pip", "install", "--compile-bytecode", "--python", python, *locked, wheel)
    return python


def _run(*command: object) -> None:
    subprocess.run([str(part) for part in command], check=True, cwd="/", stdout=subprocess.DEVNULL)

"""Names that would clash: the rooms' with installed packages, and flows' files with rooms or libraries."""

import importlib.util
import sys
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("agent", "api", "benchmarks", "db", "deployments", "flows", "tasks")


@pytest.mark.parametrize("room", ROOMS)
def test_no_installed_package_has_a_rooms_name(room):
    for key in ("purelib", "platlib"):
        site = Path(sysconfig.get_paths()[key])
        found = [path for path in (site / room, site / f"{room}.py") if path.exists()]
        assert not found, f"{found} hides the room {room}"


@pytest.mark.parametrize("room", ROOMS)
def test_room_is_imported_from_here(room):
    spec = importlib.util.find_spec(room)
    if spec is not None:
        places = [Path(place).resolve() for place in spec.submodule_search_locations or [spec.origin]]
        assert all(place.is_relative_to(ROOT) for place in places), places


def test_flow_files_are_named_after_no_room_and_no_library():
    names = {path.stem for path in (ROOT / "flows").glob("*.py")} - {"__init__"}
    libraries = {"prefect", "sqlalchemy", "httpx", "pydantic", "fastapi"}
    assert not names & (set(ROOMS) | libraries | set(sys.stdlib_module_names))

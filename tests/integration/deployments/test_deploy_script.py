"""The deploy script's template, run for real: real library, real processes, a `uv` that notes what it was asked for."""

import os
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.executions.files import LIBRARY
from tests.agents import ROOT, free_port

TEMPLATE = ROOT / "docs" / "templates" / "deploy-script.sh"
UV = """#!/bin/sh
set -eu
case $1 in
venv) mkdir -p "$3/bin" && : >"$3/bin/python" && chmod +x "$3/bin/python" ;;
pip) printf '%s' "$6" >"${5%/bin/python}/packages" && [ "$6" != app==broken ] ;;
esac
"""


class Host:
    """One client's place. What serves is the release's own directory, so it says what it was made of."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.app = folder / "app"
        self.had = ""
        self.template = TEMPLATE.read_text()
        (folder / "bin").mkdir()
        (folder / "bin" / "uv").write_text(UV)
        (folder / "bin" / "uv").chmod(0o755)

    def run(self, operation: str, version: str, env_of: str, **env: str) -> subprocess.CompletedProcess[str]:
        """The template, with the `env` of the version `env_of`: its packages, and a command that notes whose it is."""
        serve = f'exec {sys.executable} -m http.server --bind 127.0.0.1 "$APP_PORT"'
        done = subprocess.run(
            ["/bin/bash", "-c", self.template],
            env={
                "PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}",
                "HOME": str(self.folder),
                "RELEASE_OPERATION": operation,
                "RELEASE_VERSION": version,
                "HOIST_PREVIOUS_VERSION": self.had,
                "HOIST_WORK_DIR": str(self.app),
                "HOIST_LIB": str(LIBRARY),
                "HOIST_RUN_DIR": str(self.folder / "run"),
                "HOIST_DETACH_METHOD": "setsid",
                "APP_NAME": "app",
                "APP_PORT": str(self.port),
                "APP_PACKAGES": f"app=={env_of}",
                "APP_COMMAND": f'echo {env_of} >"$APP_DIR/command"; {serve}',
                **env,
            },
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )
        if done.returncode == 0:
            self.had = version
        return done

    def update(self, version: str, **env: str) -> None:
        done = self.run("update", version, version, **env)
        assert done.returncode == 0, done.stdout + done.stderr

    def roll_back(self, version: str, **env: str) -> subprocess.CompletedProcess[str]:
        """By the rollback_script of the version that is left, as Hoist does it."""
        return self.run("rollback", version, self.had, **env)

    @property
    def serves(self) -> tuple[str, str]:
        """The packages of what answers, and whose command started it."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/packages", timeout=10) as answer:
            return answer.read().decode(), (self.app / "command").read_text().strip()

    @property
    def kept(self) -> list[str]:
        return sorted((one / "packages").read_text() for one in (self.app / "releases").iterdir())


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    one = Host(tmp_path)
    yield one
    one.run("uninstall", "0", "0")


def test_rollback_returns_to_the_release_as_it_was_kept(host: Host):
    host.update("1.0")
    host.update("1.1")
    done = host.roll_back("1.0")
    assert done.returncode == 0, done.stdout + done.stderr
    assert host.serves == ("app==1.0", "1.0")
    assert host.kept == ["app==1.0", "app==1.1"]


def test_rollback_to_what_is_not_kept_fails_and_makes_nothing(host: Host):
    for version in ("1.0", "1.1", "1.2"):
        host.update(version, APP_KEEP_RELEASES="1")
    done = host.roll_back("1.0", APP_KEEP_RELEASES="1")
    assert done.returncode == 1
    assert done.stderr == (
        "cannot roll back app to 1.0: that release isn't kept here any more; deploy 1.0 as an update "
        "(allow_downgrade), and raise APP_KEEP_RELEASES for the next time\n"
    )
    assert host.serves == ("app==1.2", "1.2")
    assert host.kept == ["app==1.2"]
    host.update("1.0")
    assert host.serves == ("app==1.0", "1.0")


def test_rollback_does_not_take_a_longer_version_for_a_shorter_one(host: Host):
    host.update("1.0.1")
    host.update("2.0")
    assert host.roll_back("1.0").returncode == 1
    assert host.serves == ("app==2.0", "2.0")


def test_same_version_with_other_packages_is_fetched_anew_while_the_old_serves(host: Host):
    host.update("1.0")
    host.update("1.1")
    assert host.run("update", "1.1", "broken").returncode != 0
    assert host.serves == ("app==1.1", "1.1")
    host.update("1.1", APP_PACKAGES="app==1.1.post1")
    assert host.serves == ("app==1.1.post1", "1.1")
    assert host.kept == ["app==1.0", "app==1.1.post1"]


def test_same_version_with_the_same_packages_is_not_fetched_again(host: Host):
    host.update("1.0")
    done = host.run("update", "1.0", "1.0", APP_COMMAND=f"{sys.executable} -m http.server $APP_PORT")
    assert (done.returncode, "fetching" in done.stdout) == (0, False)


def test_rollback_starts_the_release_as_its_last_update_did(host: Host):
    host.update("1.0")
    host.run("update", "1.0", "1.0b", APP_PACKAGES="app==1.0")
    host.update("1.1")
    assert host.roll_back("1.0").returncode == 0
    assert host.serves == ("app==1.0", "1.0b")


def test_releases_that_never_came_up_do_not_push_out_the_way_back(host: Host):
    host.update("1.0")
    assert host.run("update", "1.1", "broken").returncode != 0
    assert host.run("update", "1.2", "1.2", APP_COMMAND="exit 1").returncode != 0
    host.update("1.3")
    assert host.kept == ["app==1.0", "app==1.3"]
    assert host.roll_back("1.0").returncode == 0
    assert host.serves == ("app==1.0", "1.0")


@pytest.mark.parametrize("dies_after_s", [0.2, 1.5])
def test_application_whose_port_somebody_else_holds_is_not_up(host: Host, dies_after_s: float):
    with socket.create_server(("127.0.0.1", host.port)):
        done = host.run("update", "1.0", "1.0", APP_COMMAND=f"sleep {dies_after_s}; exit 1")
    assert done.returncode == 1
    assert done.stderr == f"cannot start app 1.0: something else answers on port {host.port}\n"
    assert " is up" not in done.stdout
    host.update("1.0")


def test_application_that_dies_while_it_is_asked_whether_it_is_up_is_not_up(host: Host):
    """Whatever it is that answers then."""
    asks = '(exec 3<>"/dev/tcp/127.0.0.1/$APP_PORT") 2>/dev/null'
    assert host.template.count(asks) == 1
    host.template = host.template.replace(asks, '[ -e "$APP_DIR/app.pid" ] && sleep 1')
    done = host.run("update", "1.0", "1.0", APP_COMMAND="sleep 0.5; echo taken; exit 1")
    assert done.returncode == 1
    assert done.stdout.endswith("app 1.0 does not come up; the end of its log:\ntaken\n")

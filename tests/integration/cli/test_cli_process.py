"""`hoist` as a process: help that comes at once, completion that a shell runs, pipes that are closed early."""

import os
import pty
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.builders import create_project
from tests.served_api import OPERATOR

ROOT = Path(__file__).resolve().parents[3]
HOIST = [sys.executable, "-m", "api.cli"]
HEAVY = ("prefect", "sqlalchemy", "fastapi", "pydantic", "httpx", "rich", "db", "tasks", "flows", "agent")
GROUPS = ("project", "environment", "version", "client", "target")


@pytest.fixture
def environ(tmp_path):
    kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    return {**kept, "PYTHONPATH": str(ROOT), "HOME": str(tmp_path)}


def run(arguments, environ, **options):
    return subprocess.run(
        arguments, env=environ, capture_output=True, text=True, check=False, timeout=60, **options
    )


def test_help_imports_nothing_heavy_and_lists_the_exit_codes(environ):
    program = (
        "import sys\nfrom api.cli.__main__ import main\ncode = main(['--help'])\n"
        "print([name for name in sys.argv[1:] if name in sys.modules])\nsys.exit(code)\n"
    )
    done = run([sys.executable, "-c", program, *HEAVY], environ)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]"
    for text in ("HOIST_API_TOKEN_FILE", "upgrade", "Exit codes: 0 succeeded"):
        assert text in done.stdout


def test_every_command_explains_itself(environ):
    program = (
        "import click, sys\nfrom api.cli.__main__ import hoist\n"
        "def walk(command, path):\n"
        "    context = click.Context(command, info_name=' '.join(path))\n"
        "    assert command.get_short_help_str(), path\n"
        "    text = command.get_help(context)\n"
        "    assert 'Usage: ' + ' '.join(path) in text, path\n"
        "    for name, one in getattr(command, 'commands', {}).items():\n"
        "        walk(one, [*path, name])\n"
        "    print(*path)\n"
        "walk(hoist, ['hoist'])\n"
    )
    done = run([sys.executable, "-c", program], environ)
    assert done.returncode == 0, done.stderr
    assert {f"hoist {name} list" for name in GROUPS} <= set(done.stdout.splitlines())


def test_version(environ):
    done = run([*HOIST, "--version"], environ)
    assert (done.returncode, done.stdout[:14]) == (0, "hoist, version")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_script_is_printed(environ, shell):
    done = run([*HOIST, "completion", shell], environ)
    assert done.returncode == 0, done.stderr
    assert "_HOIST_COMPLETE" in done.stdout
    if shutil.which(shell):
        assert run([shell, "-n"], environ, input=done.stdout).returncode == 0
    assert run([*HOIST, "completion", "tcsh"], environ).returncode == 2


def complete(environ, line):
    words = line.split(" ")
    asked = {"_HOIST_COMPLETE": "bash_complete", "COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1)}
    done = run(HOIST, {**environ, **asked})
    assert done.stderr == ""
    return [one.partition(",")[2] for one in done.stdout.split()]


def test_commands_options_and_projects_are_completed(environ, served):
    with served.database.write() as session:
        create_project(session, "shop")
        create_project(session, "store")
    environ |= {"HOIST_API_URL": served.url, "HOIST_API_TOKEN": OPERATOR}
    assert complete(environ, "hoist up") == ["upgrade"]
    assert complete(environ, "hoist upgrade sh") == ["shop"]
    assert complete(environ, "hoist installations s") == ["shop", "store"]
    assert "--waves" in complete(environ, "hoist upgrade shop 1.1 --w")


def test_completion_without_an_api_is_silent(environ):
    assert complete({**environ, "HOIST_API_URL": "http://127.0.0.1:1"}, "hoist upgrade sh") == []


def test_a_reader_that_has_enough_is_no_failure(environ, served):
    with served.database.write() as session:
        for number in range(900):
            create_project(session, f"project-{number:04}", description="x" * 200)
    environ |= {"HOIST_API_URL": served.url, "HOIST_API_TOKEN": OPERATOR}
    line = f"{sys.executable} -m api.cli project list | head -n 1; exit ${{PIPESTATUS[0]}}"
    done = run(["bash", "-c", line], environ)
    assert done.stderr == ""
    assert done.returncode == 141
    assert done.stdout.startswith("project ")


def test_token_is_in_no_argument_and_wrong_settings_are_2(environ):
    done = run(
        [*HOIST, "project", "list"],
        {**environ, "HOIST_API_TOKEN": "x" * 20, "HOIST_API_URL": "http://example"},
    )
    assert done.returncode == 2
    assert "must be https" in done.stderr
    assert "token" not in run([*HOIST, "upgrade", "--help"], environ).stdout.lower()


def test_on_a_narrow_terminal_ids_stay_in_one_piece_and_long_texts_are_folded(environ, served):
    with served.database.write() as session:
        project = create_project(session, "shop", description="many words " * 30)
        wanted = project.id
    environ |= {"HOIST_API_URL": served.url, "HOIST_API_TOKEN": OPERATOR, "COLUMNS": "60", "TERM": "xterm"}
    master, slave = pty.openpty()
    done = subprocess.run([*HOIST, "project", "list"], env=environ, stdout=slave, check=False, timeout=60)
    os.close(slave)
    said = b""
    try:
        while some := os.read(master, 65536):
            said += some
    except OSError:
        os.close(master)  # Linux says so where the other side is closed and all is read
    lines = said.decode().splitlines()
    assert done.returncode == 0
    assert sum(wanted in line for line in lines) == 1
    assert len([line for line in lines if "words" in line]) > 5

"""`make demo`: twice, the first one killed; nothing of it is left, and the second proves its upgrade."""

import os
import re
import signal
import subprocess
import sys

from deployments.demo.environment import CODE
from deployments.demo.leftovers import application_pids, stop_applications
from deployments.demo.processes import marked_pids, wait_until

_DEMO = [sys.executable, "-m", "deployments.demo", "--exit", "--dir"]


def test_demo_works_after_one_that_was_killed(tmp_path):
    root = (tmp_path / "demo").resolve()
    home = tmp_path / "home"
    home.mkdir()
    env = os.environ | {"HOME": str(home)}
    try:
        kill_one_in_the_middle(root, env)
        done = subprocess.run(
            [*_DEMO, root], cwd=CODE, env=env, capture_output=True, text=True, timeout=240, check=False
        )
        assert done.returncode == 0, done.stderr + done.stdout
        rows = re.findall(r"^web-\d .*$", done.stdout, re.MULTILINE)
        assert len(rows) == 3
        for row in rows:
            assert re.search(r"0\.64\.8 +0\.65\.5 +\d+ +\d+ +yes +(yes|no)", row), row
        assert not marked_pids(root)
        assert not application_pids(root)
        assert not (home / ".hoist").exists()
        assert not (home / ".prefect").exists()
    finally:
        stop_applications(root, patience_s=1)


def kill_one_in_the_middle(root, env):
    """SIGKILL a demo once its first version runs: its servers and agents end, its applications don't."""
    demo = subprocess.Popen(
        [*_DEMO, root], cwd=CODE, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        wait_until(
            "applications", lambda: len(application_pids(root)) >= 3 or demo.poll() is not None, timeout_s=180
        )
    finally:
        os.kill(demo.pid, signal.SIGKILL)
        demo.wait()
    wait_until("end of the killed demo's servers", lambda: not marked_pids(root), timeout_s=30)
    assert application_pids(root)

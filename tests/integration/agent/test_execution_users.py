"""`run_as`: a script of another user, who can't enter the agent's state directory."""

import os

import pytest

from tests.agents import AgentProcess, agent

__all__ = ["agent"]


@pytest.fixture(autouse=True)
def root():
    """Skip, or under CI fail, where no other user can be become."""
    if os.geteuid() != 0:
        reason = "needs root to become another user: sudo make test"
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)


def test_script_and_its_application_run_as_the_user(agent: AgentProcess):
    work = f"/tmp/hoist-test-{os.getpid()}-{agent.port}"  # pytest's own directories are closed to other users
    script = """
        set -e
        id -un; echo "$HOME $USER"; pwd
        . "$HOIST_LIB"
        start_detached app -- sleep 600
        ps -o user= -p "$(detached_pid app)"
        cat "$HOIST_RUN_DIR/../../secrets" 2>/dev/null || echo closed
        stop_detached app
        rm -rf "$HOIST_WORK_DIR"/*; cd /; rmdir "$HOIST_WORK_DIR" 2>/dev/null || true
    """
    try:
        ended = agent.run("e1", script, run_as="nobody", work_dir=work)
        assert ended["state"] == "succeeded", ended
        assert ended["output_tail"].splitlines() == [
            "nobody",
            "/nonexistent nobody",
            work,
            "nobody",
            "closed",
        ]
    finally:
        if os.path.isdir(work):
            os.rmdir(work)

"""For every test: a home of its own, no telemetry, properties that are the same in every run, both databases."""

import atexit
import os
import shutil
import signal
import tempfile

from hypothesis import HealthCheck, settings

_HOME = tempfile.mkdtemp(prefix="hoist-tests-home-")
_OWNER = os.getpid()


@atexit.register
def _remove_home() -> None:
    if os.getpid() == _OWNER:
        shutil.rmtree(_HOME, ignore_errors=True)


for _name in [name for name in os.environ if name.startswith(("HOIST_", "PREFECT_"))]:
    if _name == "HOIST_KUBERNETES_DIR":
        continue  # where the tests' own cluster is kept
    del os.environ[_name]
os.environ.update(
    HOME=_HOME,
    PREFECT_HOME=f"{_HOME}/prefect",
    PREFECT_SERVER_ANALYTICS_ENABLED="false",
    DO_NOT_TRACK="1",
)

settings.register_profile(
    "ci", derandomize=True, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("ci")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # Started in the background by a shell: what the tests start, and end with Ctrl-C, would ignore it too.
    signal.signal(signal.SIGINT, signal.default_int_handler)


pytest_plugins = ["tests.databases", "tests.docker_engine", "tests.kubernetes_cluster"]

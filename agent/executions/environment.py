"""What a script finds in its environment, and the shell files that carry it there."""

import os
import pwd
import shlex
from collections.abc import Mapping
from pathlib import Path

from agent.errors import refused_field
from agent.wire.executions import DetachMethod, ExecuteRequest

SAFE = ("PATH", "HOME", "USER", "SHELL", "LANG", "LC_ALL", "TZ", "TMPDIR")
"""All that a script gets of the agent's own environment: the rest may hold the agent's secrets."""

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

_SHELLS_OWN = frozenset(
    {"OPTIND", "PPID", "UID", "EUID", "GID", "EGID", "BASHOPTS", "SHELLOPTS", "BASH_VERSINFO"}
)
"""Variables that /bin/sh keeps for itself: setting them would end the wrapper's shell."""


def script_environment(
    request: ExecuteRequest,
    *,
    client_id: str,
    library: Path,
    run_dir: Path,
    method: DetachMethod,
    own: Mapping[str, str],
) -> dict[str, str]:
    """The script's whole environment. `method` is how start_detached starts applications.

    Refuses (422) a request that sets a variable which Hoist, or the shell, sets itself.
    """
    given = {
        "RELEASE_ID": request.release_id,
        "TARGET_ID": request.target_id,
        "RELEASE_OPERATION": request.operation,
        "RELEASE_VERSION": request.version,
        "HOIST_PROJECT": request.project_id,
        "HOIST_CLIENT_ID": client_id,
        "HOIST_PREVIOUS_VERSION": request.previous_version or "",
        "HOIST_WORK_DIR": request.work_dir,
        "HOIST_LIB": str(library),
        "HOIST_RUN_DIR": str(run_dir),
        "HOIST_DETACH_METHOD": method,
        "HOIST_EXECUTION_ID": request.execution_id,
    }
    taken = sorted((given.keys() | _SHELLS_OWN | {"HOIST_DETACHED", "HOIST_STARTED_BY"}) & request.env.keys())
    if taken:
        raise refused_field("env", f"cannot set {', '.join(taken)}: set by Hoist or by the shell")
    safe = {name: own[name] for name in SAFE if name in own}
    return {"PATH": DEFAULT_PATH, **safe, **_user(request.run_as), **request.env, **given}


def as_shell(variables: Mapping[str, str], *, export: bool) -> bytes:
    """Assignments that /bin/sh reads back, whatever the values hold."""
    word = "export " if export else ""
    lines = (f"{word}{name}={shlex.quote(value)}\n" for name, value in variables.items())
    return "".join(lines).encode("utf-8", "surrogateescape")


def _user(run_as: str | None) -> dict[str, str]:
    if run_as is None:
        return {}
    entry = pwd.getpwnam(run_as)
    return {"HOME": entry.pw_dir, "USER": run_as, "LOGNAME": run_as, "SHELL": entry.pw_shell or "/bin/sh"}


def own_environment() -> Mapping[str, str]:
    """The agent's own environment, of which `SAFE` is passed on."""
    return os.environ

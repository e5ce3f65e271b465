"""The files that an execution's wrapper works from."""

import hashlib
import os
import threading
from collections.abc import Mapping
from pathlib import Path

from agent.disk import sync_directory, write_durably
from agent.executions import output
from agent.executions.environment import as_shell, own_environment, script_environment
from agent.executions.methods import detach_method_of, other_user, setpriv
from agent.executions.paths import ExecutionPaths
from agent.executions.record import Record
from agent.settings import AgentSettings
from agent.wire.executions import ExecuteRequest

LIBRARY = Path(__file__).parent.parent / "lib" / "hoist.sh"
SHARED_RUN = Path("/run/hoist-agent")
"""What a script that runs as another user needs, who can't enter the state directory."""


def files_of(
    request: ExecuteRequest, record: Record, paths: ExecutionPaths, settings: AgentSettings
) -> Mapping[str, bytes]:
    """`script`, `env` and `plan`, as the wrapper expects them. Makes the directories that the environment names."""
    environment = script_environment(
        request,
        client_id=settings.client_id,
        library=_library(settings, request.run_as),
        run_dir=_run_dir(settings, request),
        method=detach_method_of(request),
        own=own_environment(),
    )
    return {
        "script": request.script.encode("utf-8", "surrogateescape"),
        "env": as_shell(environment, export=True),
        "plan": as_shell(_plan(request, record, paths), export=False),
    }


def _plan(request: ExecuteRequest, record: Record, paths: ExecutionPaths) -> dict[str, str]:
    user = other_user(request.run_as)
    return {
        "id": record.execution_id,
        "method": record.method or "none",
        "timeout_s": str(request.timeout_s),
        "interpreter": request.interpreter,
        "script": str(paths.script),
        "work_dir": request.work_dir,
        "user": "" if user is None else str(user.pw_uid),
        "group_id": "" if user is None else str(user.pw_gid),
        "setpriv": setpriv() or "",
        "cap": str(output.CAP_BYTES),
        "head": str(output.HEAD_BYTES),
    }


def _library(settings: AgentSettings, run_as: str | None) -> Path:
    """A copy of hoist.sh that the script may read, and that an upgrade of the agent doesn't change under it."""
    content = LIBRARY.read_bytes()
    name = f"hoist-{hashlib.sha256(content).hexdigest()[:12]}.sh"
    shared = other_user(run_as) is not None
    directory = (SHARED_RUN if shared else settings.state_dir) / "lib"
    path = directory / name
    if not _has(path, content):
        _make_directory(directory, 0o755 if shared else 0o700)
        # A name of its own: executions of several projects, and agents that share /run, may be at it at once.
        partial = directory / f".{name}.{os.getpid()}.{threading.get_ident()}"
        write_durably(partial, content)
        partial.chmod(0o644)
        partial.replace(path)
        sync_directory(directory)
    return path


def _has(path: Path, content: bytes) -> bool:
    # By content: after a power cut a file may be there and be empty.
    try:
        return path.read_bytes() == content
    except OSError:
        return False


def _run_dir(settings: AgentSettings, request: ExecuteRequest) -> Path:
    """Where start_detached keeps pid files and what it starts: the same for every execution of the project."""
    user = other_user(request.run_as)
    if user is None:
        directory = settings.state_dir / "detached" / request.project_id
        _make_directory(directory, 0o700)
        return directory
    own = hashlib.sha256(str(settings.state_dir).encode()).hexdigest()[:8]
    directory = SHARED_RUN / "detached" / f"{own}-{user.pw_uid}-{request.project_id}"
    _make_directory(directory, 0o700)
    os.chown(directory, user.pw_uid, user.pw_gid, follow_symlinks=False)
    return directory


def _make_directory(path: Path, mode: int) -> None:
    path.mkdir(parents=True, exist_ok=True)
    path.chmod(mode)
    if path.is_relative_to(SHARED_RUN):
        SHARED_RUN.chmod(0o755)
        path.parent.chmod(0o755)

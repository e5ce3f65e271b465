"""Which detach methods this host has, and whether it can do at all what a request asks."""

import os
import pwd
import shutil
from functools import cache
from pathlib import Path

from agent.errors import Refused, refused_field
from agent.wire.executions import DetachMethod, ExecuteRequest


def detach_methods() -> tuple[DetachMethod, ...]:
    """What this host can do, the default first. systemd: is running, and is ours to command (root)."""
    units = (
        Path("/run/systemd/system").is_dir() and os.geteuid() == 0 and shutil.which("systemd-run") is not None
    )
    return ("systemd", "setsid", "nohup") if units else ("setsid", "nohup")


def detach_method_of(request: ExecuteRequest) -> DetachMethod:
    """The method to use; refuses (422) one that this host doesn't have."""
    methods = detach_methods()
    wanted = request.detach_method or methods[0]
    if wanted not in methods:
        raise refused_field("detach_method", f"this host has no {wanted}, only {', '.join(methods)}")
    return wanted


def check_host_can(request: ExecuteRequest, state_dir: Path, min_free_bytes: int) -> None:
    """Refuse, before anything runs, what could not run here: interpreter, user (422), no room on the disk (507)."""
    interpreter = Path(request.interpreter)
    if not (interpreter.is_file() and os.access(interpreter, os.X_OK)):
        raise refused_field("interpreter", "this host has no such program")
    if request.run_as is not None:
        _check_user(request.run_as)
    check_room(state_dir, min_free_bytes)


def free_bytes(state_dir: Path) -> int | None:
    """What may still be written there; None where nobody can say."""
    try:
        disk = os.statvfs(state_dir)
    except OSError:
        return None
    return disk.f_bavail * disk.f_frsize


def check_room(state_dir: Path, min_free_bytes: int) -> None:
    """Refuse (507) where the disk is too full for anything to be started."""
    disk = os.statvfs(state_dir)
    if disk.f_bavail * disk.f_frsize < min_free_bytes or (disk.f_files and disk.f_favail < 100):
        raise disk_full(state_dir)


def disk_full(state_dir: Path) -> Refused:
    """The 507: nothing was started."""
    return Refused(507, "Insufficient storage", f"cannot start the execution: no room left in {state_dir}")


def prepare_work_dir(request: ExecuteRequest) -> None:
    """Make the work directory where it is missing, its owner the user the script runs as. Refuses (422) what can't be one."""
    path = Path(request.work_dir)
    if path.is_dir():
        return
    try:
        path.mkdir(mode=0o755, parents=True)
        user = other_user(request.run_as)
        if user is not None:
            # The directory above may be the user's own, who could put a link in its place meanwhile.
            os.chown(path, user.pw_uid, user.pw_gid, follow_symlinks=False)
    except FileExistsError as error:
        if not path.is_dir():  # else another execution was faster
            raise refused_field("work_dir", "something else is there") from error
    except OSError as error:
        raise refused_field("work_dir", f"cannot make it: {error.strerror}") from error


def other_user(run_as: str | None) -> pwd.struct_passwd | None:
    """The user to become, or None where the agent is that user already. Raises KeyError for an unknown one."""
    user = None if run_as is None else pwd.getpwnam(run_as)
    return None if user is None or user.pw_uid == os.geteuid() else user


@cache
def setpriv() -> str | None:
    """The program that takes another user's identity, without a session of its own (util-linux)."""
    return shutil.which("setpriv")


def _check_user(name: str) -> None:
    try:
        user = pwd.getpwnam(name)
    except KeyError:
        raise refused_field("run_as", "this host has no such user") from None
    if os.geteuid() not in (0, user.pw_uid):
        raise refused_field(
            "run_as", "the agent doesn't run as root, so it can't run a script as another user"
        )
    if other_user(name) is not None and setpriv() is None:
        raise refused_field("run_as", "this host has no setpriv (util-linux)")

"""As whom, and in which environment, an application is asked: never with the agent's own secrets."""

import os
import pwd
from collections.abc import Mapping
from dataclasses import dataclass

from agent.executions.environment import DEFAULT_PATH, SAFE
from agent.releases.errors import CannotAsk


@dataclass(frozen=True, slots=True)
class Identity:
    """`user` None: as the agent itself."""

    environment: dict[str, str]
    user: int | None = None
    group: int | None = None
    extra_groups: tuple[int, ...] | None = None


def safe_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """The part of `environ` that a command of the application's may see."""
    safe = {name: environ[name] for name in SAFE if name in environ}
    return {"PATH": DEFAULT_PATH, **safe}


def identity_of(run_as: str | None, environ: Mapping[str, str] = os.environ) -> Identity:
    """The identity of `run_as`; raises CannotAsk where there is no such user, or the agent may not become it."""
    environment = safe_environment(environ)
    if run_as is None:
        return Identity(environment)
    try:
        entry = pwd.getpwnam(run_as)
    except KeyError:
        raise CannotAsk(f"cannot run as {run_as}: there is no such user") from None
    environment |= {"HOME": entry.pw_dir, "USER": run_as, "SHELL": entry.pw_shell or "/bin/sh"}
    if entry.pw_uid == os.geteuid():
        return Identity(environment)
    if os.geteuid() != 0:
        raise CannotAsk(f"cannot run as {run_as}: the agent is not root")
    groups = tuple(os.getgrouplist(run_as, entry.pw_gid))
    return Identity(environment, entry.pw_uid, entry.pw_gid, groups)

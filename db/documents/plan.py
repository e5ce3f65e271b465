"""A deploy task's plan: whom it touches, from which version, with which scripts, in which order; frozen, with a digest."""

from typing import Literal

from agent.wire.base import Answer

SkipReason = Literal[
    "held", "not_installed", "status_not_installed", "already_at_version", "would_be_downgrade", "excluded"
]


class Skipped(Answer):
    """A client that was passed over. `detail` is for people: the hold's reason, the version it has."""

    client_id: str
    reason: SkipReason
    detail: str = ""


class PlannedClient(Answer):
    """One client of the plan. `script_sha256` is of the script that will run there, or of the container's deploy_config
    (as canonical JSON); `version_id` says whose it is. `recipe_sha256` is of what goes with it: environment, user,
    directory, interpreter, timeout, and what proves the version that is reached (null in plans of before).
    """

    client_id: str
    target_id: str
    environment_id: str
    wave: int
    from_version: str | None = None
    to_version: str
    version_id: str
    script_field: Literal[
        "install_script", "update_script", "rollback_script", "uninstall_script", "deploy_config"
    ]
    script_sha256: str
    recipe_sha256: str | None = None


class Plan(Answer):
    """`digest` is the SHA-256 of the canonical JSON of `clients`."""

    digest: str
    waves: tuple[tuple[str, ...], ...]
    clients: tuple[PlannedClient, ...]

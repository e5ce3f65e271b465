"""Who takes part in a deploy task, and who is passed over and why."""

from dataclasses import dataclass

from agent.wire.executions import Operation
from db.documents.plan import Skipped, SkipReason
from tasks.decisions.ordering import is_downgrade


@dataclass(frozen=True, slots=True)
class Candidate:
    """A target as it is now. `status` None: it never had an installation. `held`: the hold's reason while it lasts."""

    client_id: str
    target_id: str
    environment_id: str
    priority: int = 0
    held: str | None = None
    version: str | None = None
    previous_version: str | None = None
    status: str | None = None

    @property
    def installed(self) -> str | None:
        """The version that it has, if it has one."""
        return self.version if self.status in ("installed", "failed") else None


@dataclass(frozen=True, slots=True)
class Wish:
    """What is asked of every candidate. `installs_too`: a deploy installs where nothing is installed."""

    operation: Operation
    version: str | None = None
    include_failed: bool = False
    allow_downgrade: bool = False
    redeploy: bool = False
    installs_too: bool = False
    excluded: frozenset[str] = frozenset()


def pass_over(candidate: Candidate, wish: Wish) -> Skipped | None:
    """Why the candidate takes no part, or None if it does."""
    if candidate.client_id in wish.excluded:
        return _skip(candidate, "excluded", "excluded by the request")
    if candidate.held is not None:
        return _skip(candidate, "held", candidate.held)
    if candidate.installed is None:
        if wish.operation == "install" or (wish.operation == "deploy" and wish.installs_too):
            return None
        return _skip(candidate, "not_installed", "nothing is installed there")
    if candidate.status == "failed" and not wish.include_failed:
        return _skip(
            candidate, "status_not_installed", f"its installation of {candidate.installed} is failed"
        )
    return _ASKED[wish.operation](candidate, wish)


def order_of(candidate: Candidate) -> tuple[int, str]:
    """The plan's order: higher priority first, then by name."""
    return (-candidate.priority, candidate.client_id)


def _skip(candidate: Candidate, reason: SkipReason, detail: str) -> Skipped:
    return Skipped(client_id=candidate.client_id, reason=reason, detail=detail)


def _ask_install(candidate: Candidate, wish: Wish) -> Skipped | None:
    assert candidate.installed is not None
    if candidate.status == "failed":
        if wish.version and is_downgrade(candidate.installed, wish.version) and not wish.allow_downgrade:
            return _skip(candidate, "would_be_downgrade", f"has {candidate.installed}")
        return None
    if candidate.installed == wish.version:
        return _skip(candidate, "already_at_version", f"has {candidate.installed}")
    return _skip(candidate, "already_at_version", f"has {candidate.installed} installed: update it instead")


def _ask_update(candidate: Candidate, wish: Wish) -> Skipped | None:
    assert candidate.installed is not None
    assert wish.version is not None
    if candidate.installed == wish.version and candidate.status == "installed" and not wish.redeploy:
        return _skip(candidate, "already_at_version", f"has {candidate.installed}")
    if is_downgrade(candidate.installed, wish.version) and not wish.allow_downgrade:
        return _skip(candidate, "would_be_downgrade", f"has {candidate.installed}")
    return None


def _ask_rollback(candidate: Candidate, wish: Wish) -> Skipped | None:
    if wish.version is None and candidate.previous_version is None:
        return _skip(candidate, "not_installed", "has no previous version")
    if candidate.installed == (wish.version or candidate.previous_version):
        return _skip(candidate, "already_at_version", f"has {candidate.installed}")
    return None


def _ask_uninstall(candidate: Candidate, wish: Wish) -> Skipped | None:
    if wish.version is not None and candidate.installed != wish.version:
        return _skip(candidate, "not_installed", f"has {candidate.installed}, not {wish.version}")
    return None


_ASKED = {
    "install": _ask_install,
    "deploy": _ask_update,
    "update": _ask_update,
    "rollback": _ask_rollback,
    "uninstall": _ask_uninstall,
}

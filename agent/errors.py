"""What goes wrong around an agent: for its callers two kinds, retry or don't; for its handlers a refusal."""

from agent.wire.problems import FieldError, Problem


class AgentError(Exception):
    """The base of every error that a caller of an agent sees."""


class TransientAgentError(AgentError):
    """The agent could not be asked, or could not answer now: worth another try.

    `may_have_arrived` is False only where the request certainly never reached the agent.
    """

    def __init__(self, message: str, *, may_have_arrived: bool = True) -> None:
        super().__init__(message)
        self.may_have_arrived = may_have_arrived


class PermanentAgentError(AgentError):
    """The agent refused: the same request will be refused again. `problem` is its answer, where it sent one."""

    def __init__(self, message: str, *, status: int, problem: Problem | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.problem = problem


class SettingsError(AgentError):
    """The settings of the agent, or of who calls agents, don't allow a start."""


class Refused(Exception):
    """Raised by a handler: becomes an application/problem+json answer with this status."""

    def __init__(
        self,
        status: int,
        title: str,
        detail: str,
        errors: tuple[FieldError, ...] = (),
        *,
        part: str | None = None,
    ) -> None:
        super().__init__(detail)
        self.problem = Problem(status=status, title=title, detail=detail, errors=errors, part=part)


def refused_field(field: str, message: str) -> Refused:
    """A 422 about one field that only this host can judge, such as a detach method that it doesn't have."""
    return Refused(422, "Invalid request", f"{field}: {message}", (FieldError(field=field, message=message),))

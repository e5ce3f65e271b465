"""What the release API refuses, and what keeps it from starting."""

from collections.abc import Mapping

from agent.wire.problems import FieldError


class ApiError(Exception):
    """Something that the release API was asked for could not be done."""


class TransientApiError(ApiError):
    """A part that the API needs can't be reached now (503); `part` names it, `retry_after_s` says when to ask again."""

    def __init__(self, part: str, detail: str, *, retry_after_s: int | None = None) -> None:
        super().__init__(detail)
        self.part = part
        self.retry_after_s = retry_after_s


class RunsEndedError(TransientApiError):
    """A deploy task's flow runs end before they begin: a person has to see why."""


class PermanentApiError(ApiError):
    """Asking again won't help."""


class SettingsError(PermanentApiError):
    """The settings contradict each other, name what can't be used, or would leave the API open to the network."""


class Refused(PermanentApiError):
    """A request that is answered with a problem: its status, a sentence, and the fields that are to blame."""

    def __init__(
        self,
        status: int,
        detail: str,
        errors: tuple[FieldError, ...] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.errors = errors
        self.headers = headers


WRONG_CREDENTIALS = (
    "cannot accept the request: no token, or one that is nobody's here; send `Authorization: Bearer …` with a named token of"
    " this API (HOIST_API_TOKENS_FILE), or with the operator's, which it keeps in ~/.hoist/operator.token on its host"
)
CHALLENGE = {"WWW-Authenticate": 'Bearer realm="hoist"'}


def unauthorized() -> Refused:
    """401: the token is nobody's, or not any more."""
    return Refused(401, WRONG_CREDENTIALS, headers=CHALLENGE)


def not_found(what: str) -> Refused:
    """404 for `what`, e.g. "project shop"."""
    return Refused(404, f"cannot find {what}")


def invalid(field: str, message: str) -> Refused:
    """422 that blames one field of the body."""
    return Refused(
        422, f"cannot accept the request: {field}: {message}", (FieldError(field=field, message=message),)
    )


def taken(what: str, name: str) -> Refused:
    """409 for a name that something else has."""
    return Refused(409, f"cannot use the {what} {name!r}: it is taken")


def conflict(detail: str) -> Refused:
    """409: the request is fine, the state of things is not."""
    return Refused(409, detail)

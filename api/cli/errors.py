"""What ends a command, each with the exit code that scripts see: docs/how-to/command-line.md lists them."""

from collections.abc import Sequence


class CliError(Exception):
    """A command ends with one line that says why, and more of them below it."""

    exit_code = 1

    def __init__(self, message: str, details: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.details = tuple(details)


class PermanentCliError(CliError):
    """The same command again won't help."""


class TransientCliError(CliError):
    """The same command may work later."""


class DeployTaskFailed(PermanentCliError):
    """The deploy task ended, and not as `completed`."""


class WrongUsage(PermanentCliError):
    """The command line or the environment variables can't be used."""

    exit_code = 2


class Refused(PermanentCliError):
    """The release API said no (4xx), or has nothing of that name. `details`: the fields that are to blame."""

    exit_code = 3


class NotReached(TransientCliError):
    """The release API, or a part that it needs, did not answer."""

    exit_code = 4


class NotOver(TransientCliError):
    """Watching ended before the deploy task did."""

    exit_code = 5


class NobodyReads(PermanentCliError):
    """The output goes to a pipe that is closed: 128 + SIGPIPE, as of every other program in a pipe."""

    exit_code = 141

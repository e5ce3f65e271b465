"""`hoist`, or `python -m api.cli`: reads the command line, and turns whatever ends a command into an exit code."""

import os
import sys
from collections.abc import Sequence
from typing import TextIO

import click

from api.cli import (
    alerts,
    clients,
    completion,
    deploy_tasks,
    deploying,
    environments,
    freezes,
    installations,
    projects,
    reports,
    steering,
    targets,
    versions,
)
from api.cli.errors import CliError, NobodyReads
from api.cli.output import note

INTERRUPTED = 130
HELP = """Upgrade software on fleets of hosts, through Hoist's release API.

\b
HOIST_API_URL         where it is (http://127.0.0.1:4210)
HOIST_API_TOKEN       who asks; or
HOIST_API_TOKEN_FILE  a file with the token (~/.hoist/operator.token)
HOIST_API_CA          whose certificates to trust (the machine's own authorities)

Every command that asks the API has --json. A PROJECT is a name or an id.
"""
EXIT_CODES = """Exit codes: 0 succeeded, 1 the deploy task failed, 2 wrong usage or settings, 3 refused by the API,
4 API not reached, 5 watching ended before the deploy task did, 130 interrupted."""


class InOrder(click.Group):
    """Lists its commands in the order of the work, not of the alphabet."""

    def list_commands(self, _context: click.Context) -> list[str]:
        """Their names, as they were added."""
        return list(self.commands)


@click.group(
    cls=InOrder,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    help=HELP,
    epilog=EXIT_CODES,
)
@click.version_option(package_name="hoist-agent", prog_name="hoist")
def hoist() -> None:
    """Upgrade software on fleets of hosts."""


COMMANDS = (
    projects.group,
    environments.group,
    versions.group,
    clients.group,
    targets.group,
    installations.list_installations,
    installations.adopt,
    installations.drift,
    deploying.plan,
    deploying.install,
    deploying.upgrade,
    deploying.rollback,
    deploying.uninstall,
    deploy_tasks.start_task,
    deploy_tasks.show_status,
    deploy_tasks.watch_task,
    deploy_tasks.read_log,
    deploy_tasks.retry_task,
    deploy_tasks.cancel_task,
    steering.approve,
    steering.promote,
    steering.pause,
    steering.resume,
    steering.undo,
    freezes.group,
    reports.list_processes,
    reports.list_containers,
    alerts.list_alerts,
    completion.print_completion,
)
for command in COMMANDS:
    hoist.add_command(command)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; answers its exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIO) and hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a terminal that can't show a letter shows another
    try:
        code = hoist.main(
            arguments, prog_name="hoist", complete_var=completion.VARIABLE, standalone_mode=False
        )
    except click.ClickException as error:
        error.show()
        return 2
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except NobodyReads as error:
        # Python would complain at its end that it can't flush.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return error.exit_code
    except CliError as error:
        note(f"hoist: {error}", *(f"  {line}" for line in error.details))
        return error.exit_code
    return code if isinstance(code, int) else 0


if __name__ == "__main__":
    sys.exit(main())

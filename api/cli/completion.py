"""`hoist completion`: what a shell needs to complete commands, options, projects and deploy tasks."""

import click
from click.shell_completion import get_completion_class

VARIABLE = "_HOIST_COMPLETE"
HELP = """Print the completion script for SHELL.

\b
bash:  echo 'eval "$(hoist completion bash)"' >>~/.bashrc
zsh:   echo 'eval "$(hoist completion zsh)"' >>~/.zshrc
fish:  hoist completion fish >~/.config/fish/completions/hoist.fish
"""


@click.command("completion", help=HELP)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def print_completion(context: click.Context, shell: str) -> None:
    """Print the completion script for SHELL."""
    kind = get_completion_class(shell)
    assert kind is not None, "click knows the shells above"
    click.echo(kind(context.find_root().command, {}, "hoist", VARIABLE).source())

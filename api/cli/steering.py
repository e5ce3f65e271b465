"""`hoist approve`, `pause`, `resume`, `promote`, `undo`: what is said to a deploy task that is under way."""

from collections.abc import Callable
from typing import Any

import click

from api.cli.calling import task_argument, with_api
from api.cli.output import Output
from api.cli.release_api import ReleaseApi


def _word(name: str, verb: str, said: str, explained: str) -> click.Command:
    @click.command(name, help=explained)
    @task_argument
    @click.option("--comment", default="", help="Why: for the audit trail.")
    @with_api
    def say(api: ReleaseApi, out: Output, *, task: str, comment: str) -> None:
        answer = api.post("tasks", task, verb, body={"comment": comment})
        out.answer(answer, f"deploy task {task} {said}", f"watch it: hoist watch {task}")

    command: Callable[..., Any] | click.Command = say
    assert isinstance(command, click.Command)
    return command


approve = _word(
    "approve",
    "approve",
    "is approved",
    "Let a deploy task's plan be carried out, where its environment asks for that: with another token than its creator's.",
)
pause = _word(
    "pause",
    "pause",
    "starts no further client",
    "Start no further client of a deploy task until it is resumed; those at work are finished.",
)
resume = _word(
    "resume",
    "resume",
    "goes on",
    "Go on with a deploy task that is paused, or that was held because too many failed.",
)
promote = _word(
    "promote",
    "promote",
    "goes on",
    "Go on after the canary, or after a wave that was to be held.",
)
undo = _word(
    "undo",
    "rollback",
    "takes its clients back",
    "Take every client that a deploy task changed back to the version it had; of one that has ended, too.",
)

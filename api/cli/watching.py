"""Follows a deploy task to its end: asks the API again and again, shows what is new, outlasts an API that is away."""

import time
from collections.abc import Callable

from api.cli.errors import CliError, DeployTaskFailed, NotOver, NotReached
from api.cli.output import Output
from api.cli.release_api import ReleaseApi
from api.cli.rollout import (
    ENDED,
    Task,
    counts_of,
    headline,
    how_it_goes_on,
    how_to_try_again,
    news_of,
    nothing_holds,
    state_of,
    waits_for_a_freeze,
    waits_for_a_person,
)
from api.cli.screen import Screen, choose_screen

INTERVAL_S = 1.0
SHARE = 5
"""Of the time at most one part in so many is spent asking: the answer about a big fleet is big."""

PATIENCE_S = 300.0
"""How long the API may be away."""

BEGINS_S = 30.0
"""How long a run may take to go on after a word or a start: a worker looks every 10 s, and then starts a process."""


def follow(
    api: ReleaseApi, out: Output, task_id: str, *, started: bool = False, screen: Screen | None = None
) -> None:
    """Watch the deploy task to its end, and say how it ended.

    `started`: it was started just now, so that a `paused` of before is no end. Nor is, for BEGINS_S, one that nothing
    holds: it may have been told to go on just now. Raises DeployTaskFailed where it did not complete, NotOver where it
    is paused or Ctrl-C came first, NotReached where the API stays away.
    """
    try:
        first = api.get("tasks", task_id)
        title = headline(first, api.get("projects", first["project_id"])["name"])
        with screen or choose_screen(title) as shown:
            shown.say(f"{title}, deploy task {task_id}")
            task = _until_over(api, task_id, shown, started)
    except KeyboardInterrupt:
        raise NotOver(f"watching no longer; deploy task {task_id} goes on", _how_to_go_on(task_id)) from None
    except NotReached as error:
        raise NotReached(str(error), [*error.details, *_how_to_go_on(task_id)]) from error
    out.answer(task, f"deploy task {task_id} is {state_of(task)}", counts_of(task))
    _raise_unless_completed(task)


def _until_over(api: ReleaseApi, task_id: str, screen: Screen, started: bool) -> Task:
    before: Task | None = None
    since, begins = time.monotonic(), True
    while True:
        began = time.monotonic()
        task = _ask(api, task_id, screen)
        screen.show(task, news_of(before, task))
        begins = begins and _may_begin(task, started, began - since)
        if task["status"] in ENDED or waits_for_a_person(task) or (task["status"] == "paused" and not begins):
            return task
        if before is None and begins and not started:
            screen.say(f"nothing holds it: a run has {BEGINS_S:.0f} s to go on with it")
        before = task
        time.sleep(max(INTERVAL_S, (time.monotonic() - began) * (SHARE - 1)))


def _may_begin(task: Task, started: bool, watched_s: float) -> bool:
    """Whether it is paused only until a run takes it up: it was started just now, or a word ended what it waited for."""
    return task["status"] == "paused" and (started or (nothing_holds(task) and watched_s < BEGINS_S))


def _ask(api: ReleaseApi, task_id: str, screen: Screen, clock: Callable[[], float] = time.monotonic) -> Task:
    """The deploy task; an API that is away, as for its own upgrade, is asked again for PATIENCE_S."""
    began, told = clock(), False
    while True:
        try:
            task: Task = api.get("tasks", task_id)
        except NotReached as error:
            if clock() - began > PATIENCE_S:
                raise
            if not told:
                screen.say(f"{error}; asking again")
            told = True
            time.sleep(INTERVAL_S)
        else:
            if told:
                screen.say("the release API answers again")
            return task


def _raise_unless_completed(task: Task) -> None:
    error: CliError
    task_id = task["id"]
    if task["status"] == "completed":
        return
    if waits_for_a_person(task):
        error = NotOver(f"deploy task {task_id} waits: {task['hold']['reason']}", how_it_goes_on(task))
    elif waits_for_a_freeze(task):
        error = NotOver(
            f"deploy task {task_id} waits: {task['hold']['reason']}",
            [
                "it goes on by itself once the freeze is over, see: hoist freeze list",
                *_how_to_go_on(task_id),
            ],
        )
    elif task["status"] == "paused":
        error = NotOver(
            f"deploy task {task_id} is paused",
            [f"let it go on: hoist start {task_id}", f"end it: hoist cancel {task_id}"],
        )
    else:
        error = DeployTaskFailed(
            f"deploy task {task_id} did not complete: {task['status']}",
            [f"who failed, and why: hoist status {task_id}", how_to_try_again(task)],
        )
    raise error


def _how_to_go_on(task_id: str) -> list[str]:
    return [f"watch it again: hoist watch {task_id}", f"stop it: hoist cancel {task_id}"]

"""Where progress is shown: on standard error, as a picture that moves on a terminal, as lines everywhere else."""

import sys
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self

from api.cli.cells import clean
from api.cli.output import note
from api.cli.rollout import Task, counts_of, state_of, waves_of

if TYPE_CHECKING:
    from rich.console import Group
    from rich.live import Live

SHOWN = 8
"""Waves and running clients in the picture: it has to fit on a screen."""


class Screen(Protocol):
    """Shows how a deploy task goes on; a context manager."""

    def __enter__(self) -> Self:
        """Begin."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End, and leave the lines."""

    def show(self, task: Task, news: Iterable[str]) -> None:
        """The deploy task as it is now, and what is new."""

    def say(self, line: str) -> None:
        """One line."""


class Lines:
    """A line for each piece of news, with the time (UTC)."""

    def __init__(self, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._now = now

    def __enter__(self) -> Self:
        """Nothing to begin."""
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to end."""

    def show(self, _task: Task, news: Iterable[str]) -> None:
        """The news alone."""
        for line in news:
            self.say(line)

    def say(self, line: str) -> None:
        """One line, after the time."""
        note(f"{self._now():%H:%M:%S} {line}")


class Picture:
    """The waves and who is at work now, drawn anew in place; the news run by above it."""

    def __init__(self, title: str) -> None:
        self._title = title
        self._live: Live | None = None

    def __enter__(self) -> Self:
        """Begin to draw."""
        from rich.console import Console
        from rich.live import Live

        self._live = Live(console=Console(stderr=True), transient=True, refresh_per_second=8)
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Wipe the picture; the lines stay."""
        if self._live is not None:
            self._live.stop()

    def show(self, task: Task, news: Iterable[str]) -> None:
        """The news, and a new picture."""
        for line in news:
            self.say(line)
        if self._live is not None:
            self._live.update(picture_of(task, self._title))

    def say(self, line: str) -> None:
        """One line above the picture."""
        from rich.text import Text

        if self._live is not None:
            self._live.console.print(Text(clean(line)))


def choose_screen(title: str) -> Screen:
    """The picture on a terminal, else lines."""
    return Picture(title) if sys.stderr.isatty() else Lines()


def picture_of(task: Task, title: str) -> "Group":
    """A bar over all, a bar for each wave that is near, and who is at work."""
    from rich.console import Group
    from rich.progress_bar import ProgressBar
    from rich.spinner import Spinner
    from rich.table import Table
    from rich.text import Text

    waves = waves_of(task)
    current = next((at for at, row in enumerate(waves) if row["over"] < row["clients"]), len(waves) - 1)
    first = max(0, min(current - 1, len(waves) - SHOWN))
    grid = Table.grid(padding=(0, 1))
    for row in waves[first : first + SHOWN]:
        failed = Text(f"{row['failed']} failed", "red") if row["failed"] else Text()
        bar = ProgressBar(total=row["clients"], completed=row["over"], width=30)
        grid.add_row(f"wave {row['wave']}", bar, f"{row['over']}/{row['clients']}", failed)
    running = [one["client_id"] for one in task["results"] if one["status"] == "running"]
    more = f" and {len(running) - SHOWN} more" if len(running) > SHOWN else ""
    at_work = f"at work: {', '.join(running[:SHOWN])}{more}" if running else "at work: nobody"
    spinner = Spinner("dots", Text(f"{title}: {state_of(task)}"))
    return Group(spinner, grid, Text(counts_of(task)), Text(clean(at_work)))

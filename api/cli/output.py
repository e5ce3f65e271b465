"""What commands print: tables and lines for people, or the API's own JSON; notes go to standard error."""

import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import click

from api.cli.cells import cell, clean
from api.cli.errors import NobodyReads

Row = Mapping[str, Any]
Column = tuple[str, str | Callable[[Row], Any]]
"""A title, and the field that is shown, or what makes it of the row."""

FOLDED_ABOVE = 40
"""Characters: on a terminal a column that needs more is folded, one that needs less never is: ids can be copied."""

GAP = 2
_COLOURS = {
    "green": ("success", "completed", "healthy", "installed", "active", "resolved"),
    "red": ("failed", "unreachable", "unhealthy", "critical", "unknown"),
    "yellow": ("cancelled", "paused", "warning", "skipped", "running", "canary", "rolling_back"),
}
_STYLES = {word: colour for colour, words in _COLOURS.items() for word in words}


@dataclass(frozen=True, slots=True)
class Output:
    """Where answers go. `as_json`: standard output gets one JSON document and nothing else."""

    as_json: bool

    def answer(self, document: Any, *lines: str) -> None:
        """The document as JSON, or else the lines that say what it says."""
        if self.as_json:
            print_json(document)
        else:
            say(*lines)

    def table(self, rows: Iterable[Row], columns: Sequence[Column], empty: str) -> None:
        """The rows as JSON, or else a table; `empty` is said where there are none."""
        found = list(rows)
        if self.as_json:
            print_json(found)
        else:
            print_table(found, columns, empty)

    def fields(self, document: Row, columns: Sequence[Column]) -> None:
        """One document as JSON, or else a line per field."""
        if self.as_json:
            print_json(document)
        else:
            print_fields(document, columns)

    def __call__(self, *lines: str) -> None:
        """Lines for people alone."""
        if not self.as_json:
            say(*lines)


def note(*lines: str) -> None:
    """What is no part of the answer."""
    for line in lines:
        click.echo(clean(line), err=True)


def say(*lines: str) -> None:
    """Lines on standard output."""
    for line in lines:
        emit(clean(line) + "\n")


def emit(text: str) -> None:
    """The text as it is on standard output. Raises NobodyReads."""
    try:
        click.echo(text, nl=False)
    except BrokenPipeError:
        raise NobodyReads("nobody reads the output any more") from None


def print_json(document: Any) -> None:
    """ASCII alone: what is no letter is escaped, so nothing steers a terminal either."""
    emit(json.dumps(document, indent=2) + "\n")


def print_fields(document: Row, columns: Sequence[Column]) -> None:
    """A line per field."""
    width = max(len(title) for title, _ in columns)
    say(*(f"{title:{width}}  {cell(_value(document, what))}" for title, what in columns))


def print_table(rows: Sequence[Row], columns: Sequence[Column], empty: str = "") -> None:
    """A table that is as wide as the terminal; where there is none, each row is one line."""
    if not rows:
        say(*filter(None, [empty]))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    texts = [[cell(_value(row, what)) for _, what in columns] for row in rows]
    table = Table(box=None, pad_edge=False, header_style="bold")
    width = 0
    for (title, _), *cells in zip(columns, *texts, strict=True):
        natural = max(map(len, [title, *cells]))
        table.add_column(title, overflow="fold", no_wrap=natural <= FOLDED_ABOVE)
        width += min(natural, FOLDED_ABOVE) + GAP
    for line in texts:
        table.add_row(*(Text(text, _STYLES.get(text, "")) for text in line))
    if sys.stdout.isatty():
        console = Console()
        console.width = max(console.width, width)  # wider than the terminal rather than ids in pieces
        console.print(table)
        return
    console = Console(width=100_000, color_system=None)
    with console.capture() as captured:
        console.print(table)
    say(*(line.rstrip() for line in captured.get().splitlines()))


def _value(row: Row, what: str | Callable[[Row], Any]) -> Any:
    return row.get(what) if isinstance(what, str) else what(row)

"""What one message says: a piece of news as it is; of many their titles, and of the first ones all that they say."""

from collections.abc import Sequence
from dataclasses import dataclass

from db.models import News

MOST_TITLES = 50
MOST_DETAILS = 3000
MOST_OF_A_LINE = 300
"""Characters of a message of many: of all that stands below the titles, and of one line of that."""
LEVELS = ("info", "warning", "critical")


@dataclass(frozen=True, slots=True)
class Message:
    """What leaves: `level` is the highest of what it tells."""

    title: str
    body: str
    level: str


def message_of(news: Sequence[News]) -> Message:
    """One message of one or many. Deploy tasks' own news is first in it, the rest is in order."""
    level = max((one.level for one in news), key=LEVELS.index)
    if len(news) == 1:
        return Message(news[0].title, news[0].body, level)
    resolved = sum(one.event == "resolved" for one in news)
    title = f"{len(news)} messages: {len(news) - resolved} new, {resolved} resolved"
    lines, room = [], MOST_DETAILS
    for one in sorted(news, key=lambda one: one.alert_id is not None)[:MOST_TITLES]:
        lines.append(f"- {one.title}")
        details = [f"  {line[:MOST_OF_A_LINE]}" for line in one.body.splitlines()]
        if (size := sum(map(len, details))) <= room:
            room -= size
            lines += details
    if len(news) > MOST_TITLES:
        lines.append(f"… and {len(news) - MOST_TITLES} more: GET /release/alerts")
    return Message(title, "\n".join(lines), level)

"""Whether a release window is open, and when it opens next: pure, and right where clocks are put forward or back."""

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

from db.documents.release_window import ReleaseWindow

LOOKED_AHEAD_DAYS = 8
"""A window opens at least once a week."""


def opens_at(window: ReleaseWindow | None, now: datetime) -> datetime | None:
    """None where it is open now (or there is none); else when it opens. Equal start and end: the whole day."""
    if window is None or not window.enabled:
        return None
    zone = ZoneInfo(window.timezone)
    today = now.astimezone(zone).date()
    coming: list[datetime] = []
    for days in range(-1, LOOKED_AHEAD_DAYS + 1):
        day = today + timedelta(days=days)
        if day.isoweekday() not in window.allowed_days:
            continue
        start, end = time.fromisoformat(window.start_time), time.fromisoformat(window.end_time)
        last = day + timedelta(days=1) if end <= start else day
        begins = datetime.combine(day, start, zone).astimezone(UTC)
        ends = datetime.combine(last, end, zone).astimezone(UTC)
        if begins <= now < ends:
            return None
        if begins > now:
            coming.append(begins)
    return min(coming)

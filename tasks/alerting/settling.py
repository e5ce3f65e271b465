"""What became of a delivery that was taken up: written down, and when it is tried again."""

import logging
from collections.abc import Sequence
from datetime import datetime, timedelta

from db.queries import news as queries
from db.session import Database

GIVE_UP_AFTER = timedelta(hours=24)
FIRST_RETRY_S, LONGEST_RETRY_S = 5.0, 600.0
log = logging.getLogger("hoist.alerting")


def settle(
    database: Database, channel: str, delivery_ids: Sequence[str], failure: str | None, now: datetime
) -> bool:
    """Whether they left. `failure`: why they did not; they are tried again, later each time, for a day."""
    with database.write() as session:
        if failure is None:
            queries.mark_sent(session, delivery_ids, now)
            return True
        attempts = min(queries.attempts_of(session, delivery_ids), 10)
        wait_s = min(LONGEST_RETRY_S, FIRST_RETRY_S * 2**attempts)
        log.warning("cannot notify %s: %s; trying again in %.0f s", channel, failure, wait_s)
        next_at = now + timedelta(seconds=wait_s)
        queries.mark_failed(session, delivery_ids, failure, next_at, now - GIVE_UP_AFTER)
    return False

"""What the heartbeat wrote down of a client, as the condition that `client_offline` is decided by."""

from datetime import datetime

from tasks.decisions.alerts import Timing
from tasks.decisions.observed import Observed

OFFLINE = "client_offline"
STALE_AFTER_S = 86_400.0
"""One that waits fires by time, though no watch looks at it: for a day. Time asks first whether it has reported since."""


def observe_client(
    client_id: str,
    *,
    online: bool,
    since: datetime,
    heard_at: datetime | None,
    for_s: float,
    keep_firing_s: float,
) -> Observed:
    """`since`: when it came to be online or offline; `heard_at`: when it was heard of last."""
    last = heard_at or since
    return Observed(
        OFFLINE,
        client_id,
        not online,
        Timing(for_s, keep_firing_s, STALE_AFTER_S),
        f"client {client_id} has not been heard of since {last:%Y-%m-%d %H:%M:%S} UTC",
    )

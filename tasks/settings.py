"""How the flow works with its clients: read from the environment once per run."""

import os
from collections.abc import Mapping
from dataclasses import dataclass

from tasks.numbers import number_setting, whole_number_setting
from tasks.planning.lease import DEFAULT_RENEW_S, DEFAULT_TTL_S, lease_renew_s, lease_ttl_s


@dataclass(frozen=True, slots=True)
class RolloutSettings:
    """Times are in seconds.

    retry_window_s: how long an agent that can't be reached is asked again, before its client is unreachable.
    lease_ttl_s, lease_renew_s: how long the lease lasts, and how often it is renewed.
    watch_s: how often the database is asked whether the deploy task was cancelled.
    progress_s: the least time between two moves of the progress artifact.
    offline_retry_s: how often a client that is waited for is tried again.
    poll_s: how long one question after an execution's end may wait on the agent.
    shard_above, shard_size: above that many clients, so many share one task run.
    """

    retry_window_s: float = 120
    lease_ttl_s: float = DEFAULT_TTL_S
    lease_renew_s: float = DEFAULT_RENEW_S
    watch_s: float = 1
    progress_s: float = 2
    offline_retry_s: float = 15
    poll_s: int = 30
    shard_above: int = 500
    shard_size: int = 50

    @classmethod
    def from_env(cls, environ: Mapping[str, str] = os.environ) -> "RolloutSettings":
        """`HOIST_RETRY_WINDOW_S`, `HOIST_LEASE_TTL_S`, `HOIST_LEASE_RENEW_S` and `HOIST_SHARD_ABOVE`, or the defaults.

        Raises PermanentTaskError naming the one that is no such number.
        """
        return cls(
            retry_window_s=number_setting(environ, "HOIST_RETRY_WINDOW_S", 120),
            lease_ttl_s=lease_ttl_s(environ),
            lease_renew_s=lease_renew_s(environ),
            shard_above=whole_number_setting(environ, "HOIST_SHARD_ABOVE", 500),
        )

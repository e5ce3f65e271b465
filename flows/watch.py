"""The watch: judges what only time changes, sends what is unsent, shows the fleet."""

from typing import Annotated, Any

from prefect import flow
from prefect.client.schemas.objects import State
from pydantic import Field

from tasks.fleet.watch import watch_fleet
from tasks.run_names import named_by_time
from tasks.upgrade_run import REFUSALS, refuse


@flow(
    name="watch",
    flow_run_name=named_by_time("watch"),
    description="Judge what only time changes and who has drifted, send what is unsent, show who is not well.",
    persist_result=False,
    timeout_seconds=280,
)
async def watch(
    offline_for_s: Annotated[float, Field(ge=0, le=86_400)] = 120,
    keep_firing_s: Annotated[float, Field(ge=0, le=86_400)] = 0,
) -> State[Any]:
    """Watch the fleet.

    Args:
        offline_for_s: a client that has been offline for so many seconds is an alert.
        keep_firing_s: that alert resolves when the client has been back for so many seconds.
    """
    try:
        return await watch_fleet(offline_for_s, keep_firing_s)
    except REFUSALS as error:
        return refuse(error)

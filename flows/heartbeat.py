"""The heartbeat: asks the clients that have been silent, has them watch what is installed, settles what is unknown."""

from typing import Annotated, Any

from prefect import flow
from prefect.client.schemas.objects import State
from pydantic import Field

from tasks.fleet.heartbeat import ask_the_silent
from tasks.run_names import named_by_time
from tasks.upgrade_run import REFUSALS, refuse


@flow(
    name="heartbeat",
    flow_run_name=named_by_time("heartbeat"),
    description="Ask the silent clients, mark them online or offline, put monitors right, settle what is unknown.",
    persist_result=False,
    timeout_seconds=280,
)
async def heartbeat(
    silent_for_s: Annotated[float, Field(ge=10, le=86_400)] = 180,
    ask_timeout_s: Annotated[float, Field(ge=1, le=60)] = 10,
) -> State[Any]:
    """Ask who has been silent.

    Args:
        silent_for_s: a client of which nothing was heard for so many seconds is asked.
        ask_timeout_s: how long one client may take to answer, in seconds; it is asked twice.
    """
    try:
        return await ask_the_silent(silent_for_s, ask_timeout_s)
    except REFUSALS as error:
        return refuse(error)

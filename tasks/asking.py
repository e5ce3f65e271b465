"""A question to a person in Prefect: the run is paused, with a form to resume it by."""

from typing import Literal
from uuid import UUID, uuid4

import httpx
from prefect.client.orchestration import get_client
from prefect.exceptions import PrefectException
from prefect.flow_runs import apause_flow_run
from prefect.input import RunInput
from prefect.logging import get_run_logger
from prefect.runtime import flow_run
from pydantic import Field, ValidationError

from tasks.decisions.rollout import Next
from tasks.work import Release

PATIENCE_S = 7 * 86_400
"""Prefect fails a paused run after an hour unless it is told otherwise. One that nobody answered is asked again."""
POLL_S = 2


class HoldAnswer(RunInput):
    """How it goes on."""

    decision: Literal["promote", "abort", "roll_back"] = Field(
        default="promote",
        title="Decision",
        description="promote: go on. abort: start no further client. roll_back: take back whom it changed.",
    )
    comment: str = Field(default="", title="Comment", max_length=1000, description="For the audit trail.")


async def ask(release: Release, step: Next, said: str = "") -> HoldAnswer | None:
    """What the person answered; None where Prefect can't ask now, or the answer was none."""
    form = HoldAnswer.with_initial_data(description=question(release, step, said))
    try:
        return await apause_flow_run(
            wait_for_input=form,
            timeout=PATIENCE_S,
            poll_interval=POLL_S,
            key=f"{step.hold}-{step.wave or 0}-{uuid4()}",  # Prefect takes no capitals: no "None"
        )
    except (httpx.HTTPError, PrefectException, ValidationError, RuntimeError, OSError, ValueError) as error:
        get_run_logger().warning("no answer through Prefect: %s", str(error) or type(error).__name__)
        return None


def question(release: Release, step: Next, said: str) -> str:
    """What the form says above its fields (Markdown)."""
    lines = [said, f"**{release.name}** waits: {step.reason}.", f"Deploy task `{release.deploy_task_id}`."]
    return "\n\n".join(filter(None, lines))


async def resume_run() -> None:
    """The run goes on in Prefect too, where it is still paused there: the answer came through the release API."""
    run_id = UUID(str(flow_run.id))
    try:
        async with get_client() as client:
            run = await client.read_flow_run(run_id)
            if run.state is not None and run.state.is_paused():
                answer = {"decision": "promote", "comment": "answered through the release API"}
                await client.resume_flow_run(run_id, run_input=answer)
    except (httpx.HTTPError, PrefectException, OSError) as error:
        get_run_logger().warning("Prefect still shows the run as paused: %s", type(error).__name__)

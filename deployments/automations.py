"""Registers Hoist's automations with a Prefect server: `python -m deployments.automations`, again after an update.

A killed worker takes its flow runs along, and Prefect would show them as running for ever. Flow runs send a heartbeat
(every 30 s, as prefect.yaml sets it); one that is silent for 90 s is marked crashed.
https://docs.prefect.io/v3/advanced/detect-zombie-flows
"""

import argparse
import asyncio
import sys
from datetime import timedelta

import httpx
from prefect.automations import Automation
from prefect.client.schemas.objects import StateType
from prefect.events.actions import ChangeFlowRunState
from prefect.events.schemas.automations import EventTrigger, Posture
from prefect.exceptions import PrefectException

ZOMBIES = "hoist: a flow run that sends no heartbeat any more is crashed"
HEARTBEAT = "prefect.flow-run.heartbeat"


def zombie_automation(within_s: float) -> Automation:
    """Whatever event a flow run sends counts as life: its last state has a name of ours, such as "2 of 8 failed"."""
    return Automation(
        name=ZOMBIES,
        description="See deployments/automations.py",
        trigger=EventTrigger(
            match={"prefect.resource.id": "prefect.flow-run.*"},
            for_each={"prefect.resource.id"},
            after={HEARTBEAT},
            expect={"prefect.flow-run.*"},
            posture=Posture.Proactive,
            threshold=1,
            within=timedelta(seconds=within_s),
        ),
        actions=[
            ChangeFlowRunState(
                state=StateType.CRASHED,
                message=f"no heartbeat for {within_s:g} s: its process is gone. Its deploy task can be started again.",
            )
        ],
    )


async def register(within_s: float = 90) -> None:
    """Make the automation, or bring the one that is there up to date."""
    wanted = zombie_automation(within_s)
    try:
        there = await Automation.aread(name=ZOMBIES)
    except ValueError:
        await wanted.acreate()
        return
    wanted.id = there.id
    await wanted.aupdate()


def main() -> int:
    """Register them at PREFECT_API_URL. 1 where the server can't be reached."""
    parser = argparse.ArgumentParser(prog="python -m deployments.automations", description=__doc__)
    parser.add_argument("--within", type=float, default=90, metavar="S", help="silence that means it is gone")
    within_s = parser.parse_args().within
    try:
        asyncio.run(register(within_s))
    except (httpx.HTTPError, PrefectException, RuntimeError) as error:
        print(f"cannot register the automations: {error}", file=sys.stderr)
        return 1
    print(f"registered: {ZOMBIES} (after {within_s:g} s)")
    return 0


if __name__ == "__main__":
    sys.exit(main())

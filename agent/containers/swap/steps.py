"""What the steps of a swap share: whose containers are whose, and how an engine that is away or refuses is asked again."""

import time
from collections.abc import Callable
from datetime import datetime
from typing import ParamSpec, TypeVar

from agent.containers.errors import EngineUnavailable
from agent.containers.swap.choosing import Own
from agent.containers.swap.dock import Dock
from agent.containers.swap.notes import Notes
from agent.executions.steps import Abandoned, StepFailed
from agent.wire.containers import ContainerDeployRequest

T = TypeVar("T")
P = ParamSpec("P")
STUBBORN_S, STUBBORN_RETRY_S = 20.0, 1.0
"""How long an engine that refuses is asked again where something has to be put back or tidied up."""
REVERT_PATIENCE_S = 3600.0
"""How long an engine that is down is waited for where something has to be put back, or a switch to be finished."""


class NotServing(StepFailed):
    """The new one had taken over, and does not serve any more."""


class Steps:
    """One container deployment. Every step may be done again: it looks at what the engine really has.

    `accepted_at` gives names their time, so that a resumed swap makes the same.
    """

    def __init__(
        self, request: ContainerDeployRequest, dock: Dock, notes: Notes, accepted_at: datetime
    ) -> None:
        self._request = request
        self._config = request.deploy_config
        self._dock = dock
        self._notes = notes
        self._accepted_at = accepted_at

    def _made(self) -> list[Own]:
        mine = self._request.execution_id
        return [one for one in self._patiently(self._dock.own) if one.execution_id == mine]

    def _new(self) -> tuple[str, str]:
        now = self._notes.now
        assert now.container_id is not None
        return now.container_id, now.name or now.container_id[:12]

    def _own(self, container_id: str) -> Own:
        found = next(
            (one for one in self._patiently(self._dock.own) if one.container_id == container_id), None
        )
        if found is None:
            raise StepFailed(f"the container {container_id[:12]} is gone")
        return found

    def _previous(self) -> list[Own]:
        wanted = {one.container_id for one in self._notes.now.previous}
        return [one for one in self._patiently(self._dock.own) if one.container_id in wanted]

    def _patiently(self, step: Callable[P, T], *args: P.args, **more: P.kwargs) -> T:
        """The step, tried again while the engine is away: until the swap is ended, or for a while once it must not be."""
        return self._notes.patiently(EngineUnavailable, REVERT_PATIENCE_S, step, *args, **more)

    def _stubbornly(self, step: Callable[P, T], *args: P.args, **more: P.kwargs) -> T:
        """The step, tried again for a while whatever goes wrong: a service depends on it."""
        deadline = time.monotonic() + STUBBORN_S
        while True:
            try:
                return step(*args, **more)
            except Abandoned:
                raise
            except Exception as error:  # whatever it is, a service depends on the step
                if time.monotonic() > deadline:
                    raise
                self._notes.tell_once(f"{error or type(error).__name__}: trying again")
                self._notes.sleep(STUBBORN_RETRY_S)

    def _try(self, step: Callable[[], None]) -> str | None:
        """Do it; why it could not be done, or None."""
        try:
            self._stubbornly(step)
        except Abandoned:
            raise
        except Exception as error:  # noqa: BLE001 (whatever it is, what depends on it goes on, and it is told)
            return str(error) or type(error).__name__
        return None

"""A swap that failed is undone: the new one is stopped, its last lines are kept, the previous one serves."""

import time

from agent.containers.swap.choosing import RUNNING, Own
from agent.containers.swap.steps import Steps
from agent.executions.steps import StepFailed

PORT_TAKEN = "port is already allocated"
"""The engine's own book of ports says so; a port that another program has is `address already in use`."""
LATE_CREATE_S, LOOK_S = 10.0, 0.3
"""How long, and how often, a container that was asked for, and not answered, is looked out for."""


class PuttingBack(Steps):
    """What was there before, once more."""

    def put_back(self, why: str) -> str:
        """After a failure: the new one is stopped, its last log lines are kept, the previous one serves. What is true now, in words.

        Whatever goes wrong with the new one, the previous one is started. Raises StepFailed where that could not be
        done, saying that nothing serves; Abandoned.
        """
        self._notes.write(
            phase="revert", why=why, unseen=self._notes.now.unseen or self._notes.now.phase == "begin"
        )
        if self._notes.now.unseen:
            return f"{why}; nothing was changed, and what runs here is not known"
        left = self._try(self._stop_new)
        try:
            said = self._stubbornly(self._restore_previous)
        except Exception as error:  # whatever it is: that nothing serves must be said
            raise StepFailed(f"{why}; {self._what_serves_not(error)}") from error
        left = self._try(self._remove_new) or left
        return f"{why}; {said}" + (f"; the new one may be left: {left}" if left else "")

    def _what_serves_not(self, error: Exception) -> str:
        names = ", ".join(one.name for one in self._notes.now.previous)
        if not names:
            return f"what is left of the new one is not known: {error}"
        if self._notes.now.gap_began is None:
            return f"{names} should serve as before, but that could not be looked at: {error}"
        # An engine that was killed while it started a container may keep that one's port until it is started anew.
        first = "restart the engine (it holds a port for nobody), then " if PORT_TAKEN in str(error) else ""
        policy = self._config.restart_policy.name
        return (
            f"NOTHING SERVES: {names} could not be started again ({error}); "
            f"{first}run: docker update --restart {policy} {names}; docker start {names}"
        )

    def _stop_new(self) -> None:
        """Stop it, so that its port is free; its last lines first."""
        if self._notes.now.creating:
            self._wait_for_late_one()
        for own in self._stubbornly(self._new_ones):
            if not self._notes.now.log_shown:
                self._notes.show_log(own.name, self._patiently(self._dock.log, own.container_id))
                self._notes.write(log_shown=True)
            self._stubbornly(self._dock.stop, own)

    def _remove_new(self) -> None:
        """One that was kept stays, as it was before."""
        if not self._notes.now.kept:
            for own in self._stubbornly(self._new_ones):
                self._stubbornly(self._dock.remove, own.container_id, own.name)

    def _new_ones(self) -> list[Own]:
        now, mine = self._notes.now, self._request.execution_id
        own = self._patiently(self._dock.own)
        return [one for one in own if one.container_id == now.container_id or one.execution_id == mine]

    def _wait_for_late_one(self) -> None:
        """The engine goes on with what it was asked for, also after whoever asked has died."""
        made = self._made()
        deadline = time.monotonic() + LATE_CREATE_S
        while not made and time.monotonic() < deadline:
            self._notes.sleep(LOOK_S)
            made = self._made()
        self._notes.write(creating=False)

    def _restore_previous(self) -> str:
        previous = self._previous()
        stopped = [own.name for own in previous if not own.runs]
        for own in previous:
            touched = self._notes.now.gap_began is not None or not own.runs
            if touched or self._notes.now.took_over:  # its stop may have failed once its policy was taken
                self._patiently(self._dock.let_restart, own, on=True)
            if touched:
                self._patiently(self._dock.start, own.container_id, own.name)
        if not previous:
            return (
                "nothing of the project runs here"
                if not self._notes.now.previous
                else "the previous one is gone"
            )
        doubt = "".join(self._doubt_about(own) for own in previous)
        if self._notes.now.gap_began is not None and self._notes.now.gap_ended is None:
            self._notes.write(gap_ended=time.time())
        names = ", ".join(f"{own.name} ({own.version})" for own in previous)
        if self._notes.now.gap_ms:
            return f"{names} serves again, after {self._notes.now.gap_ms / 1000:.1f} s{doubt}"
        if stopped:
            return f"{names} serves again: it was found stopped{doubt}"
        return f"{names} serves as before{doubt}"

    def _doubt_about(self, own: Own) -> str:
        """What is not well with it, as it is seen now. Raises StepFailed where it does not run."""
        state = self._patiently(self._dock.inspect, own.container_id, own.name)["State"]
        if state["Status"] not in RUNNING:
            raise StepFailed(f"{own.name} does not run: it is {state['Status']} ({state.get('ExitCode')})")
        health = (state.get("Health") or {}).get("Status")
        if health == "starting":
            return f"; the health check of {own.name} has not passed yet"
        return f"; {own.name} is unhealthy" if health == "unhealthy" else ""

"""The swap itself, as it is told: start the new one, wait until it is well, let it take over, stop the one before."""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import ParamSpec, TypeVar

from agent.containers.errors import EngineUnavailable
from agent.containers.swap.choosing import RUNNING, Own, in_the_way, kept_of, to_prune
from agent.containers.swap.dock import Dock
from agent.containers.swap.errors import SwapAbandoned, SwapFailed
from agent.containers.swap.health import Health, judge
from agent.containers.swap.notes import Notes
from agent.containers.swap.progress import Previous
from agent.containers.swap.pulling import Pull
from agent.naming import NamingError, make_name
from agent.wire.containers import ContainerDeployRequest
from agent.wire.executions import DeployedContainer

T = TypeVar("T")
P = ParamSpec("P")
POLL_S = 0.3
ENGINE_RETRY_S = 1.0
LATE_CREATE_S = 10.0
"""How long a container that was asked for, and not answered, is looked out for before it is taken not to come."""
STUBBORN_S, STUBBORN_RETRY_S = 20.0, 1.0
"""How long an engine that refuses is asked again where something has to be put back or tidied up."""
REVERT_PATIENCE_S = 120.0
"""How long an engine that is down is waited for where something has to be put back, or a switch to be finished."""


class Swap:
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

    def put_in_place(self) -> DeployedContainer:
        """From whatever was done already to the new container serving alone.

        Raises SwapFailed and SwapEnded before it took over (see `put_back`), SwapAbandoned at any time.
        """
        if not self._notes.now.committed:
            self._find_previous()
            self._get_image()
            self._get_container()
            if self._notes.now.gap_first:
                self._stop_previous("stop_first")
            self._start()
            self._wait_until_well()
            self._switch()
        return self._finish()

    def put_back(self, why: str) -> str:
        """After a failure: the new one is stopped, its last log lines are kept, the previous one serves. What is true now, in words.

        Whatever goes wrong with the new one, the previous one is started. Raises SwapFailed where that could not be
        done, saying that nothing serves; SwapAbandoned.
        """
        self._notes.write(
            phase="revert", why=why, unseen=self._notes.now.unseen or self._notes.now.phase == "begin"
        )
        if self._notes.now.unseen:
            return f"{why}; nothing was changed, and what runs here is not known"
        left = self._try(self._stop_new)
        try:
            said = self._stubbornly(self._restore_previous)
        except Exception as error:
            raise SwapFailed(f"{why}; {self._what_serves_not(error)}") from error
        left = self._try(self._remove_new) or left
        return f"{why}; {said}" + (f"; the new one may be left: {left}" if left else "")

    def _what_serves_not(self, error: Exception) -> str:
        names = ", ".join(one.name for one in self._notes.now.previous)
        if not names:
            return f"what is left of the new one is not known: {error}"
        if self._notes.now.gap_began is None:
            return f"{names} should serve as before, but that could not be looked at: {error}"
        return f"NOTHING SERVES: {names} could not be started again ({error}); run: docker start {names}"

    def remove_all(self) -> None:
        """An uninstall: stop and remove every container of the project, running or kept. Images stay."""
        self._notes.write(phase="remove")
        for own in self._patiently(self._dock.own):
            self._notes.tell(f"removing {own.name} ({own.version})")
            if own.runs:
                self._patiently(self._dock.stop, own)
            self._patiently(self._dock.remove, own.container_id, own.name)

    # The steps, in their order.

    def _find_previous(self) -> None:
        if self._notes.now.phase != "begin":
            return
        own = self._patiently(self._dock.own)
        kept = kept_of(self._request.version, own) if self._request.operation == "rollback" else None
        mine = self._request.execution_id
        before = [one for one in own if one.runs and one.execution_id != mine]
        self._notes.write(
            phase="pull",
            previous=tuple(Previous(container_id=one.container_id, name=one.name) for one in before),
            gap_first=in_the_way(self._config, before),
            kept=kept is not None,
            container_id=kept.container_id if kept else None,
            name=kept.name if kept else None,
        )
        for one in before:
            self._notes.tell(f"{one.name} ({one.version}) runs now")

    def _get_image(self) -> None:
        if self._notes.now.kept or self._notes.now.image_id is not None:
            return
        image_id = self._patiently(Pull(self._dock, self._request, self._notes).get)
        self._notes.write(phase="create", image_id=image_id)

    def _get_container(self) -> None:
        if self._notes.now.container_id is None:
            self._create()
        if self._notes.now.phase not in ("pull", "create"):
            return
        container_id, name = self._new()
        self._patiently(self._dock.set_aliases, container_id, self._config.networks, on=False)
        self._patiently(self._dock.join_networks, container_id, self._config.networks)
        if self._notes.now.kept:
            self._notes.tell(f"going back to {name}, which was kept")
            image_id = self._patiently(self._dock.inspect, container_id, name)["Image"]
            self._patiently(self._dock.let_restart, self._own(container_id), on=True)
            self._notes.write(image_id=image_id)

    def _create(self) -> None:
        tried: set[str] = set()
        while True:
            made = self._made()  # also by an agent that died, or by a request whose answer got lost
            if made:
                self._notes.write(container_id=made[0].container_id, name=made[0].name, creating=False)
                return
            name = self._next_name(tried)
            self._notes.write(phase="create", name=name, creating=True)
            if self._ask_for(name):
                return
            self._notes.tell(f"the name {name} is taken")
            tried.add(name)

    def _ask_for(self, name: str) -> bool:
        try:
            container_id = self._patiently(self._dock.create, self._request, name)
        except SwapFailed:
            self._notes.write(creating=False)
            raise
        if container_id is not None:
            self._notes.tell(f"created {name} from {self._config.image}")
            self._notes.write(container_id=container_id, creating=False)
        return container_id is not None

    def _made(self) -> list[Own]:
        mine = self._request.execution_id
        return [one for one in self._patiently(self._dock.own) if one.execution_id == mine]

    def _next_name(self, tried: set[str]) -> str:
        request = self._request
        if request.name is not None and request.name not in tried:
            return request.name
        if request.naming is None:
            raise SwapFailed(
                f"the name {request.name} is taken, and there is no naming to make another one of"
            )
        try:
            return make_name(
                request.naming,
                environment=request.environment or "",
                version=request.version,
                at=self._accepted_at,
                taken=self._patiently(self._dock.names) | tried,
            )
        except NamingError as error:
            raise SwapFailed(str(error)) from error

    def _start(self) -> None:
        if self._notes.now.phase in ("wait", "switch"):
            return  # started once: what ended since is not started again, but judged
        container_id, name = self._new()
        self._notes.write(phase="start")
        self._notes.tell(f"starting {name}")
        self._patiently(self._dock.start, container_id, name)
        self._notes.write(phase="wait")

    def _wait_until_well(self) -> None:
        container_id, name = self._new()
        while True:
            seen = self._patiently(self._dock.inspect, container_id, name)
            verdict = judge(seen, self._request.stable_for_s, datetime.now(UTC))
            if verdict.health is Health.FAILED:
                raise SwapFailed(f"{name} is not well: {verdict.why}")
            if verdict.health is Health.WELL:
                self._notes.tell(f"{name} is well: {verdict.why}")
                break
            self._notes.tell_once(f"waiting for {name}: {verdict.why.partition(' since ')[0]}")
            self._notes.sleep(POLL_S)
        if self._notes.now.gap_began is not None and self._notes.now.gap_ended is None:
            self._notes.write(gap_ended=verdict.since.timestamp())
            self._notes.tell(
                f"nothing served for {self._notes.now.gap_ms / 1000:.1f} s: both need the same port"
            )

    def _switch(self) -> None:
        """Its end is where the new one has taken over: from there on nothing is undone."""
        container_id, name = self._new()
        self._notes.write(phase="switch")
        self._patiently(self._dock.set_aliases, container_id, self._config.networks, on=True)
        self._notes.check()
        self._notes.write(committed=True)
        self._notes.tell(f"{name} serves")

    def _finish(self) -> DeployedContainer:
        """Tidy up. The new one serves: what can't be tidied up is said, and makes no failure of it."""
        steps = [self._keep_serving, self._prune, self._keep_serving]
        if not self._notes.now.gap_first:
            steps.insert(1, lambda: self._stop_previous("stop_previous"))
        for step in steps:
            problem = self._try(step)
            if problem:
                self._notes.tell(f"WARNING: {self._notes.now.name} serves, but {problem}")
        container_id, name = self._new()
        now = self._notes.now
        return DeployedContainer(
            container_id=container_id,
            container_name=name,
            image=self._config.image,
            image_id=now.image_id or "",
            replaced=now.previous[-1].name if now.previous else None,
            gap_ms=now.gap_ms,
        )

    def _keep_serving(self) -> None:
        """An engine that is killed and comes back ends what ran, and starts not all of it again."""
        container_id, name = self._new()
        if self._patiently(self._dock.inspect, container_id, name)["State"]["Status"] not in RUNNING:
            self._notes.tell(f"{name} was found stopped: starting it again")
            self._patiently(self._dock.start, container_id, name)

    def _stop_previous(self, phase: str) -> None:
        now = self._notes.now
        if phase == "stop_first" and now.phase in ("start", "wait", "switch"):
            return
        began = {"gap_began": now.gap_began or time.time()} if phase == "stop_first" and now.previous else {}
        self._notes.write(phase=phase, **began)
        for own in self._previous():
            self._notes.tell(f"stopping {own.name} ({own.version})")
            self._patiently(self._dock.stop, own)

    def _prune(self) -> None:
        self._notes.write(phase="prune")
        own = self._patiently(self._dock.own)
        for one in to_prune(own, self._new()[0], self._request.keep_previous):
            self._notes.tell(f"removing {one.name} ({one.version}): {self._request.keep_previous} are kept")
            self._patiently(self._dock.remove, one.container_id, one.name)

    # Putting back.

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
            self._notes.sleep(POLL_S)
            made = self._made()
        self._notes.write(creating=False)

    def _restore_previous(self) -> str:
        previous = self._previous()
        stopped = [own.name for own in previous if not own.runs]
        for own in previous:
            if self._notes.now.gap_began is not None or not own.runs:
                self._patiently(self._dock.let_restart, own, on=True)
                self._patiently(self._dock.start, own.container_id, own.name)
        if self._notes.now.gap_began is not None and self._notes.now.gap_ended is None:
            self._notes.write(gap_ended=time.time())
        if not previous:
            return (
                "nothing of the project runs here"
                if not self._notes.now.previous
                else "the previous one is gone"
            )
        names = ", ".join(f"{own.name} ({own.version})" for own in previous)
        if self._notes.now.gap_ms:
            return f"{names} serves again, after {self._notes.now.gap_ms / 1000:.1f} s"
        return f"{names} serves again: it was found stopped" if stopped else f"{names} serves as before"

    # What the steps share.

    def _new(self) -> tuple[str, str]:
        now = self._notes.now
        assert now.container_id is not None
        return now.container_id, now.name or now.container_id[:12]

    def _own(self, container_id: str) -> Own:
        found = next(
            (one for one in self._patiently(self._dock.own) if one.container_id == container_id), None
        )
        if found is None:
            raise SwapFailed(f"the container {container_id[:12]} is gone")
        return found

    def _previous(self) -> list[Own]:
        wanted = {one.container_id for one in self._notes.now.previous}
        return [one for one in self._patiently(self._dock.own) if one.container_id in wanted]

    def _patiently(self, step: Callable[P, T], *args: P.args, **more: P.kwargs) -> T:
        """The step, tried again while the engine is away: until the swap is ended, or for a while once it must not be."""
        deadline = time.monotonic() + REVERT_PATIENCE_S
        while True:
            self._notes.check()
            try:
                return step(*args, **more)
            except EngineUnavailable as error:
                if not self._notes.may_end and time.monotonic() > deadline:
                    raise
                self._notes.tell_once(f"{error}: trying again")
                self._notes.sleep(ENGINE_RETRY_S)

    def _stubbornly(self, step: Callable[P, T], *args: P.args, **more: P.kwargs) -> T:
        """The step, tried again for a while whatever goes wrong: a service depends on it."""
        deadline = time.monotonic() + STUBBORN_S
        while True:
            try:
                return step(*args, **more)
            except SwapAbandoned:
                raise
            except Exception as error:
                if time.monotonic() > deadline:
                    raise
                self._notes.tell_once(f"{error or type(error).__name__}: trying again")
                self._notes.sleep(STUBBORN_RETRY_S)

    def _try(self, step: Callable[[], None]) -> str | None:
        """Do it; why it could not be done, or None."""
        try:
            self._stubbornly(step)
        except SwapAbandoned:
            raise
        except Exception as error:  # noqa: BLE001 (whatever it is, what depends on it goes on, and it is told)
            return str(error) or type(error).__name__
        return None

"""The swap itself, as it is told: start the new one, wait until it is well, let it take over, stop the one before."""

import math
import time
from datetime import UTC, datetime

from agent.containers.errors import EngineUnavailable
from agent.containers.swap.choosing import in_the_way, kept_of, to_prune
from agent.containers.swap.creating import RELEASE
from agent.containers.swap.health import Health, has_been_checked, judge
from agent.containers.swap.progress import Previous
from agent.containers.swap.pulling import Pull
from agent.containers.swap.steps import NotServing, Steps
from agent.executions.steps import Abandoned, StepFailed
from agent.naming import NamingError, make_name
from agent.wire.executions import DeployedContainer

POLL_S = 0.3
SETTLE_S = 2.0
"""How long one without a health check is watched once it has its aliases."""
WELL_AGAIN_WITHIN_S = 600.0
"""How long one that had to be started again after it took over has to be well: no timeout ends that any more."""
CHECK_WITHIN_S = 60.0
"""How long the next run of a health check is waited for then."""


class Swap(Steps):
    """The new one takes over from the one before. What undoes it is in putting_back.py."""

    def put_in_place(self) -> DeployedContainer:
        """From whatever was done already to the new container serving alone.

        Raises StepFailed and Ended before it took over (see putting_back.py), Abandoned at any time.
        """
        if self._notes.now.phase == "begin" and (there := self._runs_already()) is not None:
            return there
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

    def remove_all(self) -> None:
        """An uninstall: stop and remove every container of the project, running or kept. Images stay."""
        self._notes.write(phase="remove")
        for own in self._patiently(self._dock.own):
            self._notes.tell(f"removing {own.name} ({own.version})")
            if own.runs:
                self._patiently(self._dock.stop, own)
            self._patiently(self._dock.remove, own.container_id, own.name)

    # The steps, in their order.

    def _runs_already(self) -> DeployedContainer | None:
        """Going back to what serves is done: a swap that failed has left it in its place.

        Not where the deploy task that is taken back has brought it: then it is the same version, deployed anew.
        """
        if self._request.operation != "rollback":
            return None
        running = [one for one in self._patiently(self._dock.own) if one.runs]
        if len(running) != 1 or running[0].version != self._request.version:
            return None
        there = running[0]
        if self._request.release_id is not None and there.labels.get(RELEASE) == self._request.release_id:
            return None
        seen = self._patiently(self._dock.inspect, there.container_id, there.name)
        self._notes.tell(f"{there.name} ({there.version}) runs: there is nothing to go back from")
        return DeployedContainer(
            container_id=there.container_id,
            container_name=there.name,
            image=seen["Config"]["Image"],
            image_id=seen["Image"],
            was_there=True,
            restart_count=seen.get("RestartCount") or 0,
        )

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
        except StepFailed:
            self._notes.write(creating=False)
            raise
        if container_id is not None:
            self._notes.tell(f"created {name} from {self._config.image}")
            self._notes.write(container_id=container_id, creating=False)
        return container_id is not None

    def _next_name(self, tried: set[str]) -> str:
        request = self._request
        if request.name is not None and request.name not in tried:
            return request.name
        if request.naming is None:
            raise StepFailed(
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
            raise StepFailed(str(error)) from error

    def _start(self) -> None:
        if self._notes.now.phase in ("wait", "switch"):
            return  # started once: what ended since is not started again, but judged
        container_id, name = self._new()
        self._notes.write(phase="start")
        self._notes.tell(f"starting {name}")
        self._patiently(self._dock.start, container_id, name)
        self._notes.write(phase="wait")

    def _wait_until_well(self, within_s: float = math.inf) -> None:
        """`within_s`: once nothing ends it any more, it has to be well in that time."""
        container_id, name = self._new()
        until = time.monotonic() + within_s
        while True:
            seen = self._patiently(self._dock.inspect, container_id, name)
            verdict = judge(seen, self._request.stable_for_s, datetime.now(UTC))
            if verdict.health is Health.FAILED:
                raise StepFailed(f"{name} is not well: {verdict.why}")
            if verdict.health is Health.WELL:
                self._notes.tell(f"{name} is well: {verdict.why}")
                break
            if time.monotonic() > until:
                raise StepFailed(f"{name} is not well after {within_s:g} s: {verdict.why}")
            self._notes.tell_once(f"waiting for {name}: {verdict.why.partition(' since ')[0]}")
            self._notes.sleep(POLL_S)
        if not any(one.aliases for one in self._config.networks):
            self._end_gap(verdict.since.timestamp())

    def _end_gap(self, at: float) -> None:
        """It serves since then: where its aliases have to lead to it first, since they do."""
        if self._notes.now.gap_began is not None and self._notes.now.gap_ended is None:
            self._notes.write(gap_ended=max(at, self._notes.now.gap_began))
            self._notes.tell(
                f"nothing served for {self._notes.now.gap_ms / 1000:.1f} s: both need the same port"
            )

    def _switch(self) -> None:
        """Its end is where the new one has taken over."""
        container_id, name = self._new()
        self._notes.write(phase="switch")
        self._patiently(self._dock.set_aliases, container_id, self._config.networks, on=True)
        self._end_gap(time.time())
        self._notes.check()
        if any(one.aliases for one in self._config.networks):
            self._stay_well()
        self._notes.write(committed=True)
        self._notes.tell(f"{name} serves")

    def _stay_well(self) -> None:
        """To give it aliases the engine cuts its connections: it is looked at once more while the one before still runs."""
        container_id, name = self._new()
        switched_at = datetime.now(UTC)
        until = time.monotonic() + CHECK_WITHIN_S
        while True:
            seen = self._patiently(self._dock.inspect, container_id, name)
            verdict = judge(seen, self._request.stable_for_s, datetime.now(UTC))
            if verdict.health is Health.FAILED:
                self._notes.write(gap_ended=None)
                raise StepFailed(f"{name} is not well since it has its aliases: {verdict.why}")
            over = (datetime.now(UTC) - switched_at).total_seconds()
            checked = has_been_checked(seen, switched_at)
            if over >= min(SETTLE_S, self._request.stable_for_s) if checked is None else checked:
                return
            if time.monotonic() > until:
                self._notes.tell(f"{name} was not checked again within {CHECK_WITHIN_S:g} s, and runs")
                return
            self._notes.sleep(POLL_S)

    def _finish(self) -> DeployedContainer:
        """Tidy up. What can't be tidied up is said, and makes no failure of it.

        Raises NotServing where the new one does not run any more: to be put back where there is something to go back to.
        """
        self._keep_serving()
        steps = [self._prune] if self._notes.now.gap_first else [self._stop_all_previous, self._prune]
        for step in steps:
            problem = self._try(step)
            if problem:
                self._notes.tell(f"WARNING: {self._notes.now.name} serves, but {problem}")
        self._keep_serving()
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
        try:
            if self._stubbornly(self._start_again):
                self._wait_until_well(WELL_AGAIN_WITHIN_S)
        except (Abandoned, EngineUnavailable):
            raise
        except Exception as error:  # whatever it is: what took over does not serve
            why = f"{self._notes.now.name} took over, and does not serve any more: {error or type(error).__name__}"
            if not self._notes.now.previous or self._previous():
                self._notes.write(phase="revert", why=why, committed=False, took_over=True, gap_ended=None)
            raise NotServing(why) from error

    def _start_again(self) -> bool:
        """Whether it had to be started, or is started by the engine over and over."""
        container_id, name = self._new()
        status = self._patiently(self._dock.inspect, container_id, name)["State"]["Status"]
        if status in ("running", "paused"):
            return False
        if status != "restarting":
            self._notes.tell(f"{name} was found stopped: starting it again")
            self._patiently(self._dock.start, container_id, name)
        return True

    def _stop_all_previous(self) -> None:
        self._stop_previous("stop_previous")

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

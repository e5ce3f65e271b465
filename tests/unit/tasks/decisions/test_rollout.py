"""The rollout's decisions, alone and over whole schedules: failures, crashes, pauses, promotions, lost leases."""

import os
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.decisions.rollout import (
    DONE,
    FAILURES,
    Action,
    Hold,
    Next,
    Rules,
    Situation,
    decide_next,
    exceeds,
    too_many_failures,
)
from tasks.decisions.waves import cut_into_waves

NOW = datetime(2030, 1, 4, 16, 0, tzinfo=UTC)  # a Friday
LONG = bool(os.environ.get("LONG_TESTS"))
SCHEDULES = 100_000 if LONG else 2_000
WAVES = (("a",), ("b", "c"), ("d", "e", "f"))


def situation(*, now: datetime = NOW, **changed) -> Situation:
    statuses = {client: "pending" for wave in WAVES for client in wave} | changed.pop("statuses", {})
    return Situation(statuses, now, **changed)


def upgraded(*clients: str) -> dict[str, str]:
    return dict.fromkeys(clients, "success")


def test_first_wave_is_rolled():
    assert decide_next(Rules(WAVES), situation()) == Next(Action.ROLL, "wave 1 of 3", ("a",), 0)


def test_wave_that_broke_off_is_rolled_for_the_rest_of_its_clients():
    now = situation(statuses={**upgraded("a", "b")})
    assert decide_next(Rules(WAVES), now).clients == ("c",)


def test_who_is_in_flight_is_finished_before_anything_else():
    now = situation(statuses={"a": "running"}, cancelled=True, frozen="frozen", paused_by="ops")
    assert decide_next(Rules(WAVES, approval_required=True), now).clients == ("a",)


def test_everybody_done_is_the_end():
    assert decide_next(Rules(WAVES), situation(statuses=upgraded(*"abcdef"))) == Next(Action.FINISH, DONE)


def test_cancel_ends_it():
    assert decide_next(Rules(WAVES), situation(cancelled=True)).action is Action.FINISH


@pytest.mark.parametrize(
    ("strategy", "action"),
    [("continue", Action.ROLL), ("pause", Action.HOLD), ("abort", Action.FINISH)],
)
def test_too_many_failures(strategy, action):
    found = decide_next(Rules(WAVES, failure_strategy=strategy), situation(statuses={"a": "failed"}))
    assert found.action is action
    if action is not Action.ROLL:
        assert found.reason == "1 of 6 clients failed, 0 allowed"


def test_threshold_is_exceeded_not_reached():
    rules = Rules(WAVES, max_failures=1)
    assert decide_next(rules, situation(statuses={"a": "unreachable"})).action is Action.ROLL
    assert (
        decide_next(rules, situation(statuses={"a": "unreachable", "b": "unknown"})).action is Action.FINISH
    )


def test_failures_that_a_person_went_on_with_count_no_more():
    rules = Rules(WAVES, failure_strategy="pause")
    assert decide_next(rules, situation(statuses={"a": "failed"}, forgiven=1)).action is Action.ROLL
    again = situation(statuses={"a": "failed", "b": "failed"}, forgiven=1)
    assert decide_next(rules, again).hold is Hold.FAILURES


def test_wave_has_a_threshold_of_its_own():
    rules = Rules(WAVES, max_failures=5, max_failures_per_wave="50%")
    assert decide_next(rules, situation(statuses={**upgraded("a"), "b": "failed"})).action is Action.ROLL
    both = situation(statuses={**upgraded("a"), "b": "failed", "c": "failed"})
    assert decide_next(rules, both).reason == "2 of 2 clients of wave 2 failed, 50% allowed"


@pytest.mark.parametrize(
    ("scope", "clients"), [("failed", ("b",)), ("wave", ("b", "c")), ("all", ("b", "c"))]
)
def test_auto_rollback_takes_back_whom_it_says(scope, clients):
    now = situation(statuses={**upgraded("a", "c"), "b": "failed"}, can_go_back=frozenset({"a", "b", "c"}))
    found = decide_next(Rules(WAVES, auto_rollback=scope), now)
    assert (found.action, found.clients) == (Action.ROLL_BACK, clients)
    before = replace(now, can_go_back=frozenset({"a"}))
    found = decide_next(Rules(WAVES, auto_rollback=scope), before)
    assert found.clients == (("a",) if scope == "all" else ()), "a wave after the other, the last one first"


def test_client_that_was_taken_back_still_counts_as_a_failure():
    now = situation(statuses={"a": "rolled_back"})
    assert decide_next(Rules(WAVES, auto_rollback="failed"), now).action is Action.FINISH


def test_nobody_is_taken_back_for_a_time_that_is_over_or_a_cancel():
    rules = Rules(WAVES, auto_rollback="all", not_after=NOW)
    back = frozenset({"a"})
    assert decide_next(rules, situation(statuses=upgraded("a"), can_go_back=back)).action is Action.FINISH
    cancelled = situation(statuses=upgraded("a"), can_go_back=back, cancelled=True)
    assert decide_next(rules, cancelled).action is Action.FINISH


def test_rollback_that_was_asked_for_takes_everybody_back():
    now = situation(
        statuses=upgraded(*"abcdef"), can_go_back=frozenset({"a", "f"}), going_back=True, frozen="frozen"
    )
    assert decide_next(Rules(WAVES), now).clients == ("f",)
    assert decide_next(Rules(WAVES), replace(now, can_go_back=frozenset("a"))).clients == ("a",)
    assert decide_next(Rules(WAVES), replace(now, can_go_back=frozenset())).action is Action.FINISH


@pytest.mark.parametrize(
    ("rules", "changed", "hold", "until"),
    [
        ({"approval_required": True}, {}, Hold.APPROVAL, None),
        ({"not_before": NOW + timedelta(hours=1)}, {}, Hold.SCHEDULE, NOW + timedelta(hours=1)),
        ({}, {"frozen": "frozen by ops"}, Hold.FREEZE, None),
        ({}, {"paused_by": "ops"}, Hold.OPERATOR, None),
        ({}, {"window_opens_at": NOW + timedelta(days=3)}, Hold.WINDOW, NOW + timedelta(days=3)),
    ],
)
def test_gates_before_a_wave(rules, changed, hold, until):
    found = decide_next(Rules(WAVES, **rules), situation(**changed))
    assert (found.action, found.hold, found.until) == (Action.HOLD, hold, until)


def test_canary_waits_for_its_promotion():
    rules = Rules(WAVES, canary=True)
    done = situation(statuses=upgraded("a"))
    assert decide_next(rules, done).hold is Hold.CANARY
    assert decide_next(rules, replace(done, promoted_waves=1)).clients == ("b", "c")


def test_canary_promotes_itself_when_its_time_is_over_and_nothing_is_wrong():
    rules = Rules(WAVES, canary=True, canary_auto_promote=True)
    until = NOW + timedelta(minutes=10)
    watched = situation(statuses=upgraded("a"), canary_until=until)
    assert (decide_next(rules, watched).hold, decide_next(rules, watched).until) == (Hold.CANARY, until)
    assert decide_next(rules, replace(watched, now=until)).action is Action.ROLL
    sick = decide_next(rules, replace(watched, now=until, canary_trouble="an alert fires"))
    assert (sick.hold, sick.until) == (Hold.CANARY, None)


def test_hold_after_a_wave():
    rules = Rules(WAVES, pause_after=(2,))
    done = situation(statuses=upgraded("a", "b", "c"))
    assert decide_next(rules, done).hold is Hold.WAVE
    assert decide_next(rules, replace(done, promoted_waves=2)).action is Action.ROLL


@dataclass
class World:
    """A deploy task, its clients and the people round it; every step is what a run would do, or dies in the middle of."""

    rules: Rules
    random: Random
    statuses: dict[str, str] = field(default_factory=dict)
    started: dict[str, int] = field(default_factory=dict)
    back: dict[str, int] = field(default_factory=dict)
    ran: set[str] = field(default_factory=set)
    forgiven: int = 0
    promoted: int = 0
    approved: bool = False
    cancelled: bool = False
    going_back: bool = False
    paused_by: str | None = None
    frozen: str | None = None
    now: datetime = NOW
    asked_to_go_back: bool = False
    ever_failed: set[str] = field(default_factory=set)
    went_on_with: set[str] = field(default_factory=set)
    regression: str | None = None
    stopped: str | None = None
    fence: int = 1
    agents: dict[str, int] = field(default_factory=dict)
    known: set[str] = field(default_factory=set)
    unsent: list[tuple[str, int]] = field(default_factory=list)

    def send(self, client: str, fence: int, *, cancel: bool = False) -> bool:
        """What its agent makes of a request: whether the script has run by now. See agent/fences.py."""
        if fence < self.agents.get(client, 0):
            return client in self.known
        self.agents[client] = fence
        if client not in self.known and not cancel:
            assert self.statuses[client] == "running", f"{client} runs, and its result is written already"
            self.known.add(client)
        return client in self.known

    def wake(self) -> None:
        """A run that was frozen between its commit and its request goes on, long after another has its lease."""
        while self.unsent:
            self.send(*self.unsent.pop())

    def is_too_much(self) -> bool:
        """Counted by hand: failures that nobody went on with, over all and in each wave; or what is used."""
        fresh, rules = self.ever_failed - self.went_on_with, self.rules
        waves = rules.waves if rules.max_failures_per_wave is not None else ()
        return (
            self.regression is not None
            or exceeds(len(fresh), len(self.statuses), rules.max_failures)
            or any(exceeds(len(fresh & set(wave)), len(wave), rules.max_failures_per_wave) for wave in waves)
        )

    def situation(self) -> Situation:
        able = {
            client
            for client in self.ran
            if self.statuses[client] in ("success", "failed") and client not in self.back
        }
        return Situation(
            dict(self.statuses),
            self.now,
            forgiven=self.forgiven,
            promoted_waves=self.promoted,
            approved=self.approved,
            can_go_back=frozenset(able),
            going_back=self.going_back,
            cancelled=self.cancelled,
            paused_by=self.paused_by,
            frozen=self.frozen,
            regression=self.regression,
            stopped=self.stopped,
            window_opens_at=self.now + timedelta(hours=1) if self.random.random() < 0.05 else None,
            canary_until=self.now - timedelta(seconds=1),
        )

    def upgrade(self, client: str) -> None:
        if self.statuses[client] == "pending":
            self.started[client] = self.started.get(client, 0) + 1
            self.statuses[client] = "running"
            if self.random.random() < 0.1:
                self.unsent += [(client, self.fence)] * (self.random.random() < 0.5)
                self.fence += 1
                return  # the run dies here, or is frozen, and another begins: the client is in flight
            self.send(client, self.fence)
        elif client not in self.known:  # the agent says 404: see tasks/executing.py
            if self.random.random() < 0.05:
                return
            self.send(client, self.fence, cancel=True)
            self.statuses[client], self.started[client] = "pending", self.started[client] - 1
            return
        outcome = self.random.choices(
            ("success", "failed", "unreachable", "unknown"), (0.85, 0.08, 0.04, 0.03)
        )[0]
        self.statuses[client] = outcome
        if outcome != "success":
            self.ever_failed.add(client)
        if outcome in ("success", "failed"):
            self.ran.add(client)

    def roll(self, step: Next) -> None:
        for client in step.clients:
            dies = self.random.random() < 0.03
            judged = self.rules.failure_strategy != "continue" and self.statuses[client] == "pending"
            if judged and too_many_failures(self.rules, self.situation()) is not None:
                return  # the brakes: see tasks.upgrading.check_thresholds
            self.upgrade(client)
            if dies:
                return
            if self.random.random() < 0.02:
                self.wake()

    def take_back(self, step: Next) -> None:
        if step.last and not self.going_back:
            self.stopped, self.regression = step.reason, None  # who was taken back uses nothing more
        for client in step.clients:
            if self.random.random() < 0.03:
                return
            assert client in self.ran, "nothing ran there"
            assert self.statuses[client] in ("success", "failed"), "the update may still run there"
            self.back[client] = self.back.get(client, 0) + 1
            self.statuses[client] = "rolled_back" if self.random.random() < 0.9 else "failed"

    def wait(self, step: Next) -> None:
        if step.hold is Hold.APPROVAL:
            self.approved = True
        elif step.hold in (Hold.CANARY, Hold.WAVE):
            self.say(step, lambda: setattr(self, "promoted", max(self.promoted, step.wave or 0)))
        elif step.hold is Hold.FAILURES:
            counted = sum(status in FAILURES for status in self.statuses.values())
            self.say(step, lambda: self.forgive(counted))
        elif step.hold is Hold.OPERATOR:
            self.paused_by = None
        elif step.hold is Hold.FREEZE:
            self.frozen = None
        else:
            self.now += timedelta(hours=1)

    def say(self, _step: Next, promote) -> None:
        word = self.random.random()
        if word < 0.8:
            promote()
        elif word < 0.9:
            self.cancelled = True
        else:
            self.going_back = self.asked_to_go_back = True

    def forgive(self, counted: int) -> None:
        self.forgiven, self.went_on_with, self.regression = counted, set(self.ever_failed), None

    def people(self) -> None:
        if self.random.random() < 0.03:
            self.paused_by = "ops"
        if self.random.random() < 0.02:
            self.frozen = "frozen"
        if self.random.random() < 0.05 and "success" in self.statuses.values() and self.stopped is None:
            self.regression = "clients use more than before"
        if self.random.random() < 0.01:
            self.cancelled = True


def make_world(seed: int) -> World:
    random = Random(seed)
    clients = [f"c{number}" for number in range(random.randint(1, 24))]
    sizes = random.choice([("100%",), (1, "25%", "100%"), (2,), ("10%", "50%"), (3, 5)])
    groups = (
        {client: str(number // 2) for number, client in enumerate(clients)} if random.random() < 0.3 else None
    )
    waves = cut_into_waves(clients, sizes, groups)
    rules = Rules(
        waves,
        max_failures=random.choice([0, 0, 1, 3, "10%", "100%"]),
        max_failures_per_wave=random.choice([None, None, 1, "50%"]),
        failure_strategy=random.choice(["abort", "pause", "continue"]),
        auto_rollback=random.choice(["off", "failed", "wave", "all"]),
        canary=random.random() < 0.3,
        canary_auto_promote=random.random() < 0.5,
        pause_after=tuple(sorted(random.sample(range(1, 6), random.randint(0, 2)))),
        approval_required=random.random() < 0.2,
    )
    return World(rules, random, statuses=dict.fromkeys(clients, "pending"))


def play(world: World) -> Next:
    """To its end; a run that dies is followed by one that decides anew from the same rows."""
    for _ in range(2_000):
        step = decide_next(world.rules, world.situation())
        if step.action is Action.FINISH:
            return step
        check_step(world, step)
        if step.action is Action.HOLD:
            world.wait(step)
        elif step.action is Action.ROLL_BACK:
            world.take_back(step)
        else:
            world.roll(step)
        world.people()
    raise AssertionError("it goes on and on")


def check_step(world: World, step: Next) -> None:
    if step.action is Action.ROLL and step.wave is not None:
        assert not world.cancelled
        assert world.paused_by is None
        assert world.frozen is None
        assert world.approved or not world.rules.approval_required
        earlier = [client for wave in world.rules.waves[: step.wave] for client in wave]
        assert all(world.statuses[client] not in ("pending", "running") for client in earlier), (
            "waves are in order"
        )
        if world.rules.failure_strategy != "continue":
            assert not world.is_too_much(), "the thresholds are obeyed"
            assert world.stopped is None, "what was stopped is not begun again"
        if step.wave in world.rules.pause_after or (world.rules.canary and step.wave == 1):
            promoted = world.promoted >= step.wave
            assert promoted or (world.rules.canary_auto_promote and step.wave not in world.rules.pause_after)
    if step.hold is Hold.FAILURES:
        assert world.is_too_much(), "nobody is held for less"
    if step.action is Action.ROLL_BACK:
        assert not any(
            set(wave) & set(step.clients) and not set(step.clients) <= set(wave) for wave in world.rules.waves
        ) or (world.rules.auto_rollback == "failed"), "a wave at a time"
        assert world.asked_to_go_back or world.rules.auto_rollback != "off", "nobody asked for a rollback"


@settings(max_examples=SCHEDULES)
@given(st.integers(0, 2**63))
def test_whole_schedules_keep_their_promises(seed: int):
    world = make_world(seed)
    end = play(world)
    world.wake()
    statuses = list(world.statuses.values())
    assert "running" not in statuses, "nobody is lost"
    assert sorted(world.statuses) == sorted(client for wave in world.rules.waves for client in wave)
    for client, status in world.statuses.items():
        wanted = 0 if status in ("pending", "skipped") else 1
        assert world.started.get(client, 0) == wanted, "no client twice, none that says so without"
    assert not world.known - world.started.keys(), "no script that nobody began"
    assert all(count == 1 for count in world.back.values()), "nobody is taken back twice"
    if "pending" in statuses:
        assert end.reason != DONE, "somebody is left, and nobody says why"
    if world.rules.auto_rollback == "off" and not world.asked_to_go_back:
        assert not world.back
    if world.going_back and not world.cancelled:
        assert not world.situation().can_go_back, "everybody goes back who can"
    if world.rules.auto_rollback == "failed" and not world.cancelled and not world.going_back:
        assert not [
            c for c, s in world.statuses.items() if s == "failed" and c in world.ran and c not in world.back
        ]
    stops = world.rules.failure_strategy == "abort" and not world.cancelled
    if stops and world.rules.auto_rollback == "all" and too_many_failures(world.rules, world.situation()):
        assert "success" not in statuses, "everybody goes back"


@given(st.integers(0, 500), st.integers(1, 500), st.integers(1, 100))
def test_share_is_exceeded_exactly(failed: int, total: int, share: int):
    assert exceeds(failed, total, f"{share}%") == (
        failed / total > share / 100 or failed * 100 > share * total
    )


@pytest.mark.parametrize(
    ("strategy", "action"),
    [("continue", Action.ROLL), ("pause", Action.HOLD), ("abort", Action.FINISH)],
)
def test_regression_stops_as_too_many_failures_do(strategy, action):
    now = situation(statuses=upgraded(*"abc"), regression="3 clients use more memory")
    found = decide_next(Rules(WAVES, failure_strategy=strategy), now)
    assert found.action is action
    if action is not Action.ROLL:
        assert found.reason == "3 clients use more memory"


def test_regression_takes_back_whom_auto_rollback_says():
    now = situation(
        statuses=upgraded(*"abcdef"), regression="3 clients use more CPU", can_go_back=frozenset("abcdef")
    )
    found = decide_next(Rules(WAVES, auto_rollback="wave"), now)
    assert (found.action, found.clients) == (Action.ROLL_BACK, ("d", "e", "f"))

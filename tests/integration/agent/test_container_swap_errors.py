"""Whatever goes wrong at whichever call of a swap, and wherever the agent dies: one container of the project serves.

Every call of the engine and every write of the progress is tried, in each way of deploying, with and without a gap.
"""

import contextlib
import errno
import random
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import pytest

from agent.containers.errors import EngineUnavailable
from agent.containers.swap import putting_back, story, way
from agent.containers.swap import steps as swap_steps
from agent.executions import steps, threads
from agent.executions.paths import ExecutionPaths
from agent.wire.containers import ContainerDeployRequest
from agent.wire.executions import DeployedContainer
from tests.memory_engine import Calls, MemoryEngine, refusal

VERBS = ("create", "connect", "disconnect", "start", "update", "stop", "remove")
PLACEHOLDER = b" " * 14 + b".\n"
WAYS = ("update", "sick update", "rollback", "sick rollback")
SERVES_AFTER = {"update": "1.1", "sick update": "1.0", "rollback": "1.0", "sick rollback": "1.1"}


class Death(BaseException):
    """The agent dies."""


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(story, "POLL_S", 0.0005)
    for name, value in {"LATE_CREATE_S": 0.002, "LOOK_S": 0.0005}.items():
        monkeypatch.setattr(putting_back, name, value)
    monkeypatch.setattr(steps, "RETRY_S", 0.0005)
    monkeypatch.setattr(swap_steps, "STUBBORN_RETRY_S", 0.0005)
    monkeypatch.setattr("os.fsync", lambda _: None)  # this is about order, not about power


@pytest.fixture
def engine(monkeypatch) -> MemoryEngine:
    """Its calls count what the swap writes, too."""
    made = MemoryEngine()
    durably = steps.write_durably

    def write_durably(path: Path, content: bytes) -> None:
        made.calls.note(f"before {path.name}")
        durably(path, content)
        made.calls.note(f"after {path.name}")

    for module in (steps, threads, way):
        monkeypatch.setattr(module, "write_durably", write_durably)
    return made


def carry_out(engine: MemoryEngine, paths: ExecutionPaths, ending: threading.Event | None = None) -> None:
    settings = SimpleNamespace(client_id="web-1")
    record = SimpleNamespace(execution_id=paths.directory.name, accepted_at=datetime.now(UTC))
    way.ContainerWay(settings, engine)._carry_out(record, paths, ending or threading.Event())


def deploy(
    engine: MemoryEngine,
    folder: Path,
    execution_id: str,
    version: str,
    *,
    gap: bool,
    networks: list | None = None,
    **fields,
) -> ExecutionPaths:
    paths = ExecutionPaths(folder / execution_id)
    paths.directory.mkdir()
    config = {"image": version, "pull": "never", "networks": [{"name": "net", "aliases": ["shop"]}]}
    if networks is not None:
        config["networks"] = networks
    if gap:
        config["ports"] = [{"container_port": 8080, "host_port": 8080}]
    asked = {"execution_id": execution_id, "project_id": "p", "version": version, "environment": "prod"}
    asked |= {"naming": {"prefix": "shop"}, "deploy_config": config, **fields}
    paths.request.write_text(ContainerDeployRequest.model_validate(asked).model_dump_json())
    paths.status.write_bytes(PLACEHOLDER)
    return paths


def prepare(engine: MemoryEngine, folder: Path, kind: str, *, gap: bool) -> ExecutionPaths:
    """What was there before has been deployed; answers the deployment that is tried."""
    carry_out(engine, deploy(engine, folder, "e0", "1.0", gap=gap))
    if "rollback" in kind:
        carry_out(engine, deploy(engine, folder, "e1", "1.1", gap=gap))
        if "sick" in kind:
            engine.sick |= {key for key, box in engine.boxes.items() if box.image == "1.0"}
        return deploy(engine, folder, "e9", "1.0", gap=gap, operation="rollback")
    return deploy(engine, folder, "e9", "sick" if "sick" in kind else "1.1", gap=gap)


def why_of(paths: ExecutionPaths) -> str:
    """Why it failed; empty where it did not."""
    return paths.failure.read_text() if paths.failure.exists() else ""


def serving(engine: MemoryEngine) -> list[tuple[str, bool, str]]:
    """Version, whether the alias leads to it, restart policy."""
    return [
        (box.labels["hoist.version"], "shop" in box.networks.get("net", []), box.policy)
        for box in engine.boxes.values()
        if box.state == "running"
    ]


def tries(
    engine: MemoryEngine, tmp_path: Path, kind: str, gap: bool, strike
) -> Iterator[tuple[int, ExecutionPaths]]:
    """The deployment, struck at its first call, then anew at its second, and so on to its last."""
    for at in range(1, 400):
        engine.forget()
        engine.calls = Calls()
        folder = tmp_path / f"{at}"
        folder.mkdir()
        paths = prepare(engine, folder, kind, gap=gap)
        engine.calls = Calls(at=at, strike=strike)
        yield at, paths
        if engine.calls.struck is None:
            assert at > 30, "the swap made hardly a call"
            return
    raise AssertionError("it goes on and on")


@pytest.mark.parametrize("gap", [False, True], ids=["no gap", "gap"])
@pytest.mark.parametrize("kind", WAYS)
def test_dead_agent_s_swap_is_brought_to_its_end_by_the_next(engine, tmp_path, kind, gap):
    def die(what: str) -> None:
        raise Death(what)

    for at, paths in tries(engine, tmp_path, kind, gap, die):
        try:
            carry_out(engine, paths)
        except Death:
            if paths.read_status() is None:
                carry_out(engine, paths)
        where = f"died at call {at}: {engine.calls.struck}"
        assert serving(engine) == [(SERVES_AFTER[kind], True, "unless-stopped")], where
        assert len({box.name for box in engine.boxes.values()}) == len(engine.boxes) <= 2, where
        assert paths.read_status() == (1 if "sick" in kind else 0), where


def refuse(what: str) -> None:
    when, _, call = what.partition(" ")
    if when in ("before", "after") and call not in VERBS:
        raise OSError(errno.ENOSPC, "No space left on device")
    raise refusal(500, "the engine says no")


def answer_oddly(what: str) -> None:
    if not what.startswith(("before", "after")):
        raise KeyError("State")


@pytest.mark.parametrize("gap", [False, True], ids=["no gap", "gap"])
@pytest.mark.parametrize("kind", WAYS)
@pytest.mark.parametrize("strike", [refuse, answer_oddly], ids=["refusal or full disk", "odd answer"])
def test_what_goes_wrong_once_leaves_one_that_serves(engine, tmp_path, kind, gap, strike):
    for at, paths in tries(engine, tmp_path, kind, gap, strike):
        carry_out(engine, paths)
        where = f"failed at call {at}: {engine.calls.struck}: {why_of(paths)}"
        found = serving(engine)
        assert len(found) == 1, where
        version, reached, policy = found[0]
        assert (reached, policy) == (True, "unless-stopped"), where
        succeeded = paths.read_status() == 0
        if succeeded:
            assert version == SERVES_AFTER[kind], where
        elif f"{engine.calls.struck}".endswith(" error"):
            assert not why_of(paths) or "serves" in why_of(paths), where  # why was not written
        elif f"{engine.calls.struck}".endswith("container.json"):
            assert "serves, but" in why_of(paths), where
        else:
            assert "serves" in why_of(paths) or "nothing was changed" in why_of(paths), where


@pytest.mark.parametrize("gap", [False, True], ids=["no gap", "gap"])
@pytest.mark.parametrize("how", ["lost", "sick"])
def test_new_one_that_is_lost_at_any_moment_leaves_the_previous_one_serving(
    engine, tmp_path, monkeypatch, gap, how
):
    """`lost`: it can't be started again; `sick`: it can, and is unhealthy."""
    monkeypatch.setattr(swap_steps, "STUBBORN_S", 0.005)

    def lose_the_new_one(_what: str) -> None:
        for key, box in engine.boxes.items():
            if box.image == "1.1":
                box.state = "exited"
                getattr(engine, how).add(key)

    lost_unseen = 0
    for at, paths in tries(engine, tmp_path, "update", gap, lose_the_new_one):
        carry_out(engine, paths)
        where = f"lost at call {at}: {engine.calls.struck}: {why_of(paths)}"
        versions = [version for version, _, _ in serving(engine)]
        if paths.read_status() == 0 and (engine.lost or engine.sick):
            lost_unseen += 1  # after it was looked at for the last time
            assert f"{engine.calls.struck}".partition(" ")[2] in ("", "container.json", "swap"), where
        elif engine.lost or engine.sick:
            assert versions == ["1.0"], where
            assert "serves" in why_of(paths), where
        else:
            assert versions == ["1.1"], where
    assert lost_unseen <= 3


def test_new_one_that_is_lost_after_the_previous_one_was_removed_is_said_not_to_run(
    engine, tmp_path, monkeypatch
):
    monkeypatch.setattr(swap_steps, "STUBBORN_S", 0.005)
    carry_out(engine, deploy(engine, tmp_path, "e0", "1.0", gap=False))
    paths = deploy(engine, tmp_path, "e9", "1.1", gap=False, keep_previous=0)
    removed = engine.remove_container

    def remove_and_lose(key: str, **asked: bool) -> None:
        removed(key, **asked)
        for other, box in engine.boxes.items():
            box.state = "exited"
            engine.lost.add(other)

    monkeypatch.setattr(engine, "remove_container", remove_and_lose)
    carry_out(engine, paths)
    assert paths.read_status() == 1
    assert "does not serve any more" in why_of(paths)
    assert "serves" not in why_of(paths)
    assert [box.image for box in engine.boxes.values()] == ["1.1"], "it is left for a look"


def test_engine_that_never_lets_the_old_one_start_again_is_said_to_leave_nothing(
    engine, tmp_path, monkeypatch
):
    monkeypatch.setattr(swap_steps, "STUBBORN_S", 0.01)
    paths = prepare(engine, tmp_path, "sick update", gap=True)
    started = engine.start

    def start(key: str) -> None:
        if engine.boxes[key].image == "1.0":
            raise refusal(500, "no space left on device")
        started(key)

    engine.start = start
    carry_out(engine, paths)
    assert serving(engine) == []
    assert "NOTHING SERVES" in why_of(paths)
    assert "docker start shop-prod-1" in why_of(paths)


def test_previous_one_that_ends_at_once_is_not_said_to_serve(engine, tmp_path, monkeypatch):
    monkeypatch.setattr(swap_steps, "STUBBORN_S", 0.01)
    paths = prepare(engine, tmp_path, "sick update", gap=True)
    started = engine.start

    def start(key: str) -> None:
        started(key)
        if engine.boxes[key].image == "1.0":
            engine.boxes[key].state = "exited"

    engine.start = start
    carry_out(engine, paths)
    assert serving(engine) == []
    assert "NOTHING SERVES" in why_of(paths)
    assert "serves again" not in why_of(paths)


def test_gap_lasts_until_its_aliases_lead_to_the_new_one(engine, tmp_path, monkeypatch):
    paths = prepare(engine, tmp_path, "update", gap=True)
    joined = engine.connect_container_to_network

    def connect(key: str, network: str, aliases: list[str] | None = None) -> None:
        if aliases:
            time.sleep(0.2)
        joined(key, network, aliases)

    engine.connect_container_to_network = connect
    began = time.time()
    carry_out(engine, paths)
    gap_s = DeployedContainer.model_validate_json(paths.deployed.read_bytes()).gap_ms / 1000
    assert 0.2 <= gap_s <= time.time() - began


def test_gap_ends_when_it_is_well_where_no_alias_leads_to_it(engine, tmp_path):
    carry_out(engine, deploy(engine, tmp_path, "e0", "1.0", gap=True, networks=[]))
    paths = deploy(engine, tmp_path, "e1", "1.1", gap=True, networks=[])
    carry_out(engine, paths)
    assert DeployedContainer.model_validate_json(paths.deployed.read_bytes()).gap_ms is not None


@pytest.mark.parametrize("gap", [False, True], ids=["no gap", "gap"])
def test_going_back_to_what_serves_already_changes_nothing(engine, tmp_path, gap):
    """A swap that failed has left it in its place; the kept one before it stays, too."""
    for number, version in enumerate(("0.9", "1.0", "sick")):
        carry_out(engine, deploy(engine, tmp_path, f"e{number}", version, gap=gap))
    before = {key: (box.state, box.policy) for key, box in engine.boxes.items()}
    paths = deploy(engine, tmp_path, "back", "1.0", gap=gap, operation="rollback")
    carry_out(engine, paths)
    assert (paths.read_status(), why_of(paths)) == (0, "")
    assert {key: (box.state, box.policy) for key, box in engine.boxes.items()} == before
    assert sorted(box.image for box in engine.boxes.values()) == ["0.9", "1.0"]
    deployed = DeployedContainer.model_validate_json(paths.deployed.read_bytes())
    assert (deployed.container_name, deployed.image, deployed.replaced) == ("shop-prod-2", "1.0", None)
    assert deployed.was_there


def test_going_back_from_the_same_version_deployed_anew_is_a_start_of_the_kept_one(engine, tmp_path):
    carry_out(engine, deploy(engine, tmp_path, "e0", "1.1", gap=False, release_id="first"))
    carry_out(engine, deploy(engine, tmp_path, "e1", "1.1", gap=False, release_id="redeploy"))
    (before,) = [key for key, box in engine.boxes.items() if box.state == "exited"]
    paths = deploy(engine, tmp_path, "back", "1.1", gap=False, operation="rollback", release_id="redeploy")
    carry_out(engine, paths)
    assert (paths.read_status(), why_of(paths)) == (0, "")
    assert [key for key, box in engine.boxes.items() if box.state == "running"] == [before]
    assert DeployedContainer.model_validate_json(paths.deployed.read_bytes()).was_there is False


def test_disk_that_stays_full_once_the_new_one_took_over_keeps_the_previous_one_from_nothing(
    engine, tmp_path, monkeypatch
):
    carry_out(engine, deploy(engine, tmp_path, "e0", "1.0", gap=False))
    paths = deploy(engine, tmp_path, "e1", "1.1", gap=False)
    durably = steps.write_durably

    def write_durably(path: Path, content: bytes) -> None:
        if path == paths.swap and paths.swap.exists() and b'"committed":true' in paths.swap.read_bytes():
            raise OSError(errno.ENOSPC, "No space left on device")
        durably(path, content)

    monkeypatch.setattr(steps, "write_durably", write_durably)
    carry_out(engine, paths)
    assert (paths.read_status(), why_of(paths)) == (0, "")
    assert serving(engine) == [("1.1", True, "unless-stopped")]
    assert "WARNING" not in paths.output.read_text()


@pytest.mark.parametrize("kind", ["update", "sick update"])
def test_engine_that_goes_away_once_there_is_no_way_but_on_is_waited_for(engine, tmp_path, monkeypatch, kind):
    """Right after the new one took over, and right after it was found sick with the previous one stopped."""
    monkeypatch.setattr(swap_steps, "STUBBORN_S", 0.001)
    paths = prepare(engine, tmp_path, kind, gap=True)
    there, away = engine.api, []

    def api(*asked):
        progress = paths.swap.read_text() if paths.swap.exists() else ""
        if ('"committed":true' in progress or '"revert"' in progress) and len(away) < 200:
            away.append(progress)
            raise EngineUnavailable("nothing listens there")
        return there(*asked)

    monkeypatch.setattr(engine, "api", api)
    carry_out(engine, paths)
    assert len(away) == 200
    assert serving(engine) == [(SERVES_AFTER[kind], True, "unless-stopped")]
    assert paths.read_status() == (1 if "sick" in kind else 0)


def test_previous_one_that_could_not_be_stopped_has_its_restart_policy_again(engine, tmp_path, monkeypatch):
    """Its stop took the policy first; then the new one was lost."""
    monkeypatch.setattr(swap_steps, "STUBBORN_S", 0.01)
    paths = prepare(engine, tmp_path, "update", gap=False)

    def stop(key: str, **_asked: int) -> None:
        for other, box in engine.boxes.items():
            if box.image == "1.1":
                box.state = "exited"
                engine.lost.add(other)
        raise refusal(500, f"cannot stop {key}")

    monkeypatch.setattr(engine, "stop", stop)
    carry_out(engine, paths)
    assert serving(engine) == [("1.0", True, "unless-stopped")]
    assert paths.read_status() == 1


@pytest.mark.parametrize("gap", [False, True], ids=["no gap", "gap"])
@pytest.mark.parametrize("kind", WAYS)
def test_cancel_at_any_moment_leaves_one_that_serves(engine, tmp_path, kind, gap):
    ending = threading.Event()
    for at, paths in tries(engine, tmp_path, kind, gap, lambda _what: ending.set()):
        carry_out(engine, paths, ending)
        ending.clear()
        where = f"cancelled at call {at}: {engine.calls.struck}: {why_of(paths)}"
        [(version, reached, policy)] = serving(engine)
        assert (reached, policy) == (True, "unless-stopped"), where
        assert paths.read_status() != 0 or version == SERVES_AFTER[kind], where
        assert len(engine.boxes) <= 2, where


@pytest.mark.parametrize("gap", [False, True], ids=["no gap", "gap"])
@pytest.mark.parametrize("kind", WAYS)
def test_agent_that_dies_again_and_again_still_brings_it_to_its_end(engine, tmp_path, kind, gap):
    def die(what: str) -> None:
        raise Death(what)

    chance = random.Random(1)
    for attempt in range(20):
        engine.forget()
        engine.calls = Calls()
        folder = tmp_path / f"{attempt}"
        folder.mkdir()
        paths, struck = prepare(engine, folder, kind, gap=gap), []
        for _ in range(4):
            engine.calls = Calls(at=chance.randrange(1, 45), strike=die)
            with contextlib.suppress(Death):
                carry_out(engine, paths)
            struck.append(engine.calls.struck)
            if paths.read_status() is not None:
                break
        engine.calls = Calls()
        if paths.read_status() is None:
            carry_out(engine, paths)
        assert serving(engine) == [(SERVES_AFTER[kind], True, "unless-stopped")], struck
        assert len(engine.boxes) <= 2, struck


def test_agent_that_dies_while_it_uninstalls_removes_the_rest_later(engine, tmp_path):
    def die(what: str) -> None:
        raise Death(what)

    for at in range(1, 60):
        engine.forget()
        engine.calls = Calls()
        folder = tmp_path / f"{at}"
        folder.mkdir()
        for number, version in enumerate(("0.9", "1.0")):
            carry_out(engine, deploy(engine, folder, f"e{number}", version, gap=False))
        paths = deploy(engine, folder, "e9", "1.0", gap=False, operation="uninstall")
        engine.calls = Calls(at=at, strike=die)
        with contextlib.suppress(Death):
            carry_out(engine, paths)
        struck = engine.calls.struck
        if paths.read_status() is None:
            engine.calls = Calls()
            carry_out(engine, paths)
        assert engine.boxes == {}, struck
        assert paths.read_status() == 0, struck
        if struck is None:
            assert at > 5, "an uninstall made hardly a call"
            return
    raise AssertionError("it goes on and on")

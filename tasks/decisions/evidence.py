"""Evidence, not an exit code, makes an installation: judges what was seen on a client after its script ended well.

Pure: what is wanted, what was seen first (when everything held for the first time) and what is seen now go in, a
named verdict comes out. Only root matches are judged: those whose parent is no match.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Literal, TypeAlias

from agent.wire.containers import ContainerInfo
from agent.wire.executions import DeployedContainer, DeployedKubernetes, Operation
from agent.wire.pods import PodInfo
from agent.wire.processes import ProcessInfo
from agent.wire.releases import CheckResult
from db.documents.evidence import Evidence
from tasks.decisions.container_evidence import (
    Fault,
    container_changed,
    container_faults,
    find_container,
    uptime_s,
)
from tasks.decisions.pod_evidence import Fault as PodsFault
from tasks.decisions.pod_evidence import pod_faults, pods_changed, pods_of

START_TIME_SLACK = timedelta(milliseconds=600)
"""The agent derives start times from a boot time that it keeps until it is half a second off (agent/processes/clock.py)."""

MAX_PODS = 50
"""So many pods are stored with a result."""

Identity: TypeAlias = tuple[str | None, int, object]


class Reason(StrEnum):
    """Why a client is, or is not (yet), proven."""

    HELD = "held"
    EXIT_CODE = "exit_code"
    TOO_EARLY = "too_early"
    NO_PROCESS = "no_process"
    ZOMBIE = "zombie"
    NOT_RESTARTED = "not_restarted"
    PROBE_FAILED = "probe_failed"
    WRONG_VERSION = "wrong_version"
    CHECK_FAILED = "check_failed"
    CHECKS_NOT_RUN = "checks_not_run"
    IDENTITY_CHANGED = "identity_changed"
    STILL_RUNNING = "still_running"
    NO_CONTAINER = "no_container"
    CONTAINER_NOT_RUNNING = "container_not_running"
    WRONG_IMAGE = "wrong_image"
    CONTAINER_RESTARTED = "container_restarted"
    CONTAINER_UNHEALTHY = "container_unhealthy"
    NO_POD = "no_pod"
    POD_NOT_READY = "pod_not_ready"
    POD_RESTARTED = "pod_restarted"
    OTHER_REVISION = "other_revision"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What has to be seen. `rules` are the rules' names; `has_probe`, `has_checks`: the version has them.

    `container`, `kubernetes`: what the deployment says it left there, for a project of containers, or in a cluster.
    """

    version: str
    operation: Operation
    source: Literal["processes", "exit_code"] = "processes"
    rules: tuple[str, ...] = ()
    has_probe: bool = False
    has_checks: bool = False
    reload_in_place: bool = False
    stable_for_s: float = 30
    execution_started_at: datetime | None = None
    container: DeployedContainer | None = None
    is_container: bool = False
    kubernetes: DeployedKubernetes | None = None
    is_kubernetes: bool = False

    @property
    def is_script(self) -> bool:
        """Whether a script brought it there: only then may its exit code be taken for it."""
        return not (self.is_container or self.is_kubernetes)


@dataclass(frozen=True, slots=True)
class Seen:
    """One look at a client. `at` is the looker's clock; `checks` None: the agent can't run them.

    `containers_at` is the client's clock, when its containers were looked at.
    """

    at: datetime
    boot_id: str | None = None
    processes: tuple[ProcessInfo, ...] = ()
    unmatched_rules: tuple[str, ...] = ()
    observed_version: str | None = None
    probe_error: str | None = None
    checks: tuple[CheckResult, ...] | None = None
    containers: tuple[ContainerInfo, ...] = ()
    containers_at: datetime | None = None
    pods: tuple[PodInfo, ...] = ()


@dataclass(frozen=True, slots=True)
class Verdict:
    """`held`: it is proven. `retry`: not yet, but looking again within the health timeout may show it."""

    reason: Reason
    held: bool
    detail: str
    retry: bool


def judge(wanted: Wanted, seen_first: Seen | None, seen_now: Seen, now: datetime) -> Verdict:
    """Judge a client. `seen_first` is the look that was the first to be TOO_EARLY; None before there was one.

    What goes wrong before everything held once may be a slow start: `retry`. A process that is gone, or another one,
    after that is final.
    """
    if wanted.source == "exit_code" and wanted.is_script:
        return Verdict(Reason.EXIT_CODE, True, "the script's exit code was taken for it", False)
    if wanted.operation == "uninstall":
        return _judge_uninstall(wanted, seen_first, seen_now, now)
    changed = _judge_identity(wanted, seen_first, seen_now) if seen_first is not None else None
    wrong = changed or next(_faults(wanted, seen_now), None)
    if wrong is not None:
        return wrong
    stable_for_s = _stable_for_s(wanted, seen_first, seen_now, now)
    if stable_for_s < wanted.stable_for_s:
        waited = f"everything holds, for {stable_for_s:.0f} of {wanted.stable_for_s:.0f} s"
        return Verdict(Reason.TOO_EARLY, False, waited, True)
    return Verdict(Reason.HELD, True, _what_held(wanted, seen_now), False)


def evidence_of(
    wanted: Wanted, seen_first: Seen | None, seen_now: Seen, verdict: Verdict, now: datetime
) -> Evidence:
    """What was seen and how it was judged, as it is stored with the result."""
    return Evidence(
        verdict=verdict.reason.value,
        held=verdict.held,
        detail=verdict.detail,
        version_proven=verdict.held and wanted.has_probe and seen_now.observed_version == wanted.version,
        wanted_version=wanted.version,
        observed_version=seen_now.observed_version,
        boot_id=seen_now.boot_id,
        processes=seen_now.processes,
        unmatched_rules=seen_now.unmatched_rules,
        checks=seen_now.checks or (),
        containers=seen_now.containers,
        gap_ms=wanted.container.gap_ms if wanted.container is not None else None,
        pods=seen_now.pods[:MAX_PODS],
        execution_started_at=wanted.execution_started_at,
        stable_for_s=_stable_for_s(wanted, seen_first, seen_now, now)
        or (None if seen_first is None else 0.0),
        judged_at=now,
    )


def roots_of(processes: tuple[ProcessInfo, ...]) -> tuple[ProcessInfo, ...]:
    """The matches whose parent is not a match; where the agent doesn't say, the parents' pids decide."""
    pids = {process.pid for process in processes}
    roots = tuple(
        process
        for process in processes
        if (process.is_root if process.is_root is not None else process.ppid not in pids)
    )
    return roots or processes


def identity_of(boot_id: str | None, process: ProcessInfo) -> Identity:
    """(boot id, pid, start ticks); an agent of the older wire gives the start time instead of ticks."""
    started = process.start_ticks if process.start_ticks is not None else process.start_time
    return (boot_id, process.pid, started)


def _stable_for_s(wanted: Wanted, seen_first: Seen | None, seen_now: Seen, now: datetime) -> float:
    """Since everything held for the first time; a container alone, which counts its restarts, since it was started."""
    since_first_s = max(0.0, (now - seen_first.at).total_seconds()) if seen_first is not None else 0.0
    if wanted.container is None or wanted.rules:
        return since_first_s
    return max(since_first_s, uptime_s(wanted.container, seen_now.containers, seen_now.containers_at))


def _judge_uninstall(wanted: Wanted, first: Seen | None, seen: Seen, now: datetime) -> Verdict:
    """Nothing is left, for as long as a version has to be stable: what a supervisor starts again is seen."""
    left = _what_is_left(seen)
    if left is not None:
        return left
    gone_for_s = max(0.0, (now - first.at).total_seconds()) if first is not None else 0.0
    if gone_for_s < wanted.stable_for_s:
        waited = f"nothing is left, for {gone_for_s:.0f} of {wanted.stable_for_s:.0f} s"
        return Verdict(Reason.TOO_EARLY, False, waited, True)
    return Verdict(Reason.HELD, True, "nothing that matches runs there, and no check passes", False)


def _what_is_left(seen: Seen) -> Verdict | None:
    passing = [check for check in seen.checks or () if check.passed]
    if passing:
        said = "; ".join(f"{check.type} {check.subject}: {check.detail}" for check in passing)
        return _not_yet(Reason.STILL_RUNNING, f"its checks still pass: {said}"[:1000])
    if seen.containers:
        names = ", ".join(one.container_name for one in seen.containers[:5])
        return _not_yet(Reason.STILL_RUNNING, f"still there: {names}")
    if seen.pods:
        names = ", ".join(one.name for one in seen.pods[:5])
        return _not_yet(Reason.STILL_RUNNING, f"still there: {names}")
    if seen.processes:
        return _not_yet(Reason.STILL_RUNNING, f"still running: {_names(seen.processes)}")
    return None


def _judge_identity(wanted: Wanted, first: Seen, now: Seen) -> Verdict | None:
    if wanted.container is not None:
        fault = container_changed(wanted.container, first.containers, now.containers)
        if fault is not None:
            return _verdict_of(fault)
    if wanted.kubernetes is not None:
        changed = pods_changed(wanted.kubernetes, first.pods, now.pods)
        if changed is not None:
            return _verdict_of(changed)
    rebooted = None not in (first.boot_id, now.boot_id) and first.boot_id != now.boot_id
    present = {identity_of(None, process) for process in now.processes}
    gone = [process for process in roots_of(first.processes) if identity_of(None, process) not in present]
    if rebooted:
        return Verdict(Reason.IDENTITY_CHANGED, False, "the host was rebooted meanwhile", False)
    if gone:
        detail = f"gone or restarted after it had held: {_names(tuple(gone))}"
        return Verdict(Reason.IDENTITY_CHANGED, False, detail, False)
    return None


def _verdict_of(fault: Fault | PodsFault) -> Verdict:
    return Verdict(Reason(fault.reason.value), False, fault.detail, not fault.final)


def _faults(wanted: Wanted, seen: Seen) -> Iterator[Verdict]:
    if wanted.container is not None:
        yield from map(_verdict_of, container_faults(wanted.container, seen.containers))
    elif wanted.is_container:
        yield Verdict(Reason.NO_CONTAINER, False, "its agent does not say which container it left", False)
    if wanted.kubernetes is not None:
        yield from map(_verdict_of, pod_faults(wanted.kubernetes, seen.pods))
    elif wanted.is_kubernetes:
        yield Verdict(Reason.NO_POD, False, "its agent does not say which deployment it changed", False)
    yield from _process_faults(wanted, seen)
    if wanted.has_probe:
        yield from _probe_faults(wanted, seen)
    if wanted.has_checks:
        yield from _check_faults(seen)


def _process_faults(wanted: Wanted, seen: Seen) -> Iterator[Verdict]:
    roots = roots_of(seen.processes)
    matched = {process.matched_by for process in seen.processes if process.status != "zombie"}
    dead = {process.matched_by for process in seen.processes} - matched
    missing = [
        rule
        for rule in wanted.rules
        if rule in seen.unmatched_rules or (rule not in matched and rule not in dead)
    ]
    if missing:
        yield _not_yet(Reason.NO_PROCESS, f"no process matches: {', '.join(missing)}")
    zombies = tuple(
        process
        for process in seen.processes
        if process.status == "zombie" and (process in roots or process.matched_by in dead)
    )
    if zombies:
        yield _not_yet(Reason.ZOMBIE, f"dead, and not collected by its parent: {_names(zombies)}")
    unchanged = wanted.container is not None and wanted.container.was_there
    may_be_old = wanted.reload_in_place or unchanged
    old = () if may_be_old else tuple(_older(roots, wanted.execution_started_at))
    if old:
        yield _not_yet(Reason.NOT_RESTARTED, f"started before the script: {_names(old)}")


def _older(roots: tuple[ProcessInfo, ...], execution_started_at: datetime | None) -> Iterator[ProcessInfo]:
    if execution_started_at is not None:
        began = execution_started_at - START_TIME_SLACK
        yield from (process for process in roots if process.start_time < began)


def _probe_faults(wanted: Wanted, seen: Seen) -> Iterator[Verdict]:
    if seen.observed_version is None:
        yield _not_yet(Reason.PROBE_FAILED, f"the probe got no version: {seen.probe_error or 'no answer'}")
    elif seen.observed_version != wanted.version:
        said = f"the probe answers {seen.observed_version[:100]!r}, not {wanted.version!r}"
        yield _not_yet(Reason.WRONG_VERSION, said)


def _check_faults(seen: Seen) -> Iterator[Verdict]:
    if seen.checks is None:
        yield Verdict(
            Reason.CHECKS_NOT_RUN, False, "the agent can't run the version's checks: upgrade it", False
        )
        return
    failed = [check for check in seen.checks if not check.passed]
    if failed:
        said = "; ".join(f"{check.type} {check.subject}: {check.detail}" for check in failed)
        yield _not_yet(Reason.CHECK_FAILED, said[:1000])


def _not_yet(reason: Reason, detail: str) -> Verdict:
    return Verdict(reason, False, detail, True)


def _what_held(wanted: Wanted, seen: Seen) -> str:
    held = []
    container = find_container(wanted.container, seen.containers) if wanted.container is not None else None
    if container is not None:
        held.append(f"{container.container_name} runs {(container.image_id or container.image)[:19]}")
    if wanted.kubernetes is not None:
        count = len(pods_of(wanted.kubernetes.deployment, seen.pods))
        held.append(
            f"{count} pods of {wanted.kubernetes.deployment} are ready with {wanted.kubernetes.image}"
        )
    if seen.processes:
        held.append(f"running: {_names(roots_of(seen.processes))}")
    if wanted.has_probe:
        held.append(f"answers {wanted.version}")
    else:
        held.append("the version is not proven: there is no probe")
    if seen.checks:
        held.append(f"{len(seen.checks)} checks passed")
    return "; ".join(held)


def _names(processes: tuple[ProcessInfo, ...]) -> str:
    shown = [f"{process.name} ({process.pid}, {process.matched_by})" for process in processes[:5]]
    return ", ".join(shown) + (f" and {len(processes) - 5} more" if len(processes) > 5 else "")

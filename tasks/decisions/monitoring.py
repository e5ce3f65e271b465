"""Which of an agent's monitors are to be put right: pure."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from agent.wire.monitors import Monitor, PutMonitor


@dataclass(frozen=True, slots=True)
class MonitorChanges:
    """By project id. `put`: missing, or of something else than what is installed. `delete`: of what is not there."""

    put: Mapping[str, PutMonitor]
    delete: tuple[str, ...]


def decide_monitors(
    wanted: Mapping[str, PutMonitor],
    found: Sequence[Monitor],
    features: Collection[str],
    leave: Collection[str] = (),
) -> MonitorChanges:
    """What differs between what is installed and what is watched. `leave`: projects that are being deployed just now,
    or whose version nobody knows. What an older agent doesn't know (`features`) is no difference.
    """
    there = {monitor.project_id: monitor for monitor in found}
    put = {
        project_id: monitor
        for project_id, monitor in wanted.items()
        if project_id not in leave
        and _worth_it(monitor, features)
        and _differs(monitor, there.get(project_id), features)
    }
    delete = tuple(
        project_id for project_id in sorted(there) if project_id not in wanted and project_id not in leave
    )
    return MonitorChanges(put, delete)


def _worth_it(monitor: PutMonitor, features: Collection[str]) -> bool:
    """An agent of before would send reports of nothing."""
    if monitor.process_config.rules:
        return True
    needed = ["monitor_containers"] if monitor.containers else []
    needed += ["monitor_pods"] if monitor.pods is not None else []
    return not needed or any(one in features for one in needed)


def _differs(wanted: PutMonitor, found: Monitor | None, features: Collection[str]) -> bool:
    if found is None or (wanted.version, wanted.process_config) != (found.version, found.process_config):
        return True
    if "monitor_containers" in features and wanted.containers != found.containers:
        return True
    if "monitor_pods" in features and wanted.pods != found.pods:
        return True
    probed = (wanted.version_probe, wanted.work_dir, wanted.run_as)
    return "monitor_probe" in features and probed != (found.version_probe, found.work_dir, found.run_as)

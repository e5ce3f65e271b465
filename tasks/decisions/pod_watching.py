"""What a pod report says about one project's pods in one client's cluster: failing, restarted, not ready. Pure."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from agent.wire.pods import PodInfo
from tasks.decisions.alerts import STALE_AFTER_S, Timing
from tasks.decisions.observed import LOAD_HELD_S, LOAD_KEPT_S, RESTART_KEPT_S, Observed
from tasks.decisions.pod_reports import Coverage
from tasks.decisions.pod_troubles import restart_of, subject_of, trouble_of

FORGOTTEN_AFTER = timedelta(hours=1)
"""A pod that no report could have had for so long is watched no longer: its selection isn't reported any more."""
TYPES = ("pod_failed", "pod_restarted", "pod_not_ready")
ALL = ""
"""The subject of what is said of all of a project's pods."""
LEAVING = "Terminating"


@dataclass(frozen=True, slots=True)
class PodLimits:
    """A project's `kubernetes_config`, as far as its pods are judged by it; when what was seen is too old. Seconds."""

    not_ready_s: float = LOAD_HELD_S
    failures: bool = True
    stale_after_s: float = STALE_AFTER_S


@dataclass(frozen=True, slots=True)
class KnownPod:
    """A pod as it was seen last. `missing_since`: from when on no report could tell whether it is there."""

    subject: str
    namespace: str
    restarts: int
    missing_since: datetime | None = None


PodMemory = Mapping[str, KnownPod]
"""By uid: a pod that is made anew under the same name is another one."""


@dataclass(frozen=True, slots=True)
class PodLook:
    """A report `at` a time, and what goes on meanwhile.

    `failing`: subjects whose failure is an alert already. `expected`: the project is installed there, and has its
    Deployment in the namespaces of that name: that no pod is left of it is worth an alert.
    """

    coverage: Coverage
    at: datetime
    failing: Collection[str] = ()
    deploying: bool = False
    expected: str | None = None


def observe_pods(
    pods: Sequence[PodInfo], memory: PodMemory, limits: PodLimits, look: PodLook
) -> tuple[list[Observed], PodMemory]:
    """Every condition of every pod that the project has, or had at the last look; and what to remember."""
    after = {pod.uid: KnownPod(subject_of(pod), pod.namespace, pod.restart_count) for pod in pods}
    observed: dict[tuple[str, str], Observed] = {}
    for pod in pods:
        for one in _of_pod(pod, memory.get(pod.uid), limits, look):
            _put(observed, one)
    for uid, known in memory.items():
        if uid in after:
            continue
        absent = look.coverage.tells_absence_in(known.namespace)
        missing_since = known.missing_since or look.at
        if not absent and look.at - missing_since < FORGOTTEN_AFTER:
            after[uid] = replace(known, missing_since=missing_since)
            for type_ in TYPES:
                _put(observed, Observed(type_, known.subject, None, _timing(type_, limits)))
        else:
            for type_ in TYPES:
                _put(observed, Observed(type_, known.subject, False, Timing()))
    _put(observed, _none_left(pods, limits, look))
    kept = [one for one in observed.values() if limits.failures or one.type == "pod_not_ready"]
    return kept, after


def _put(observed: dict[tuple[str, str], Observed], one: Observed) -> None:
    """Two pods may have had one name, one after the other: what holds of either holds, and what is there comes first."""
    there = observed.get(one.key)
    if there is None or (one.holds and not there.holds):
        observed[one.key] = one


def _of_pod(pod: PodInfo, before: KnownPod | None, limits: PodLimits, look: PodLook) -> Iterator[Observed]:
    subject, leaving = subject_of(pod), pod.reason == LEAVING
    trouble = None if leaving else trouble_of(pod)
    anew = (
        before is not None
        and pod.restart_count > before.restarts
        and trouble is None
        and subject not in look.failing
    )
    waits = not (pod.ready or leaving or trouble) and pod.phase not in ("Succeeded", "Failed")
    said = {
        "pod_failed": (trouble is not None, f"pod {subject} fails: {trouble}"),
        "pod_restarted": (anew, f"pod {subject} restarted: {restart_of(pod)}"),
        "pod_not_ready": (waits, f"pod {subject} is not ready: {pod.reason or pod.phase}"),
    }
    for type_, (holds, message) in said.items():
        yield Observed(type_, subject, None if look.deploying else holds, _timing(type_, limits), message)


def _none_left(pods: Sequence[PodInfo], limits: PodLimits, look: PodLook) -> Observed:
    timing = _timing("pod_not_ready", limits)
    if look.deploying or look.expected is None or not look.coverage.tells_absence_in(look.expected):
        # Not installed: nothing is missed. Else this report can't tell.
        return Observed("pod_not_ready", ALL, False if look.expected is None else None, timing)
    there = any(pod.reason != LEAVING and pod.phase not in ("Succeeded", "Failed") for pod in pods)
    return Observed("pod_not_ready", ALL, not there, timing, "no pod of it is left")


def _timing(type_: str, limits: PodLimits) -> Timing:
    if type_ == "pod_not_ready":
        kept_s = min(LOAD_KEPT_S, limits.not_ready_s)
        return Timing(limits.not_ready_s, kept_s, limits.stale_after_s)
    # A pod in a crash loop runs for a moment, now and then: that is no end of it.
    moment = type_ == "pod_restarted"
    return Timing(keep_firing_s=RESTART_KEPT_S, stale_after_s=limits.stale_after_s, moment=moment)

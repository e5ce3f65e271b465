"""Which pods a client has now, by its newest reports of several selections, which may overlap. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True)
class Coverage:
    """Which pods a report is about."""

    namespace: str | None = None
    label_selector: str | None = None
    truncated: bool = False

    def tells_absence_in(self, namespace: str) -> bool:
        """Whether a pod of that namespace would have been in it. Which pods a label selector takes, the cluster knows alone."""
        return not self.truncated and self.label_selector is None and self.namespace in (None, namespace)


@dataclass(frozen=True, slots=True)
class Said:
    """A report: PodInfo documents of what it covers, made at `at`."""

    coverage: Coverage
    at: datetime
    pods: Sequence[dict[str, Any]]


def current_pods(reports: Sequence[Said]) -> Iterator[tuple[dict[str, Any], datetime]]:
    """Each pod as the newest report that has it says, and when; none that a newer report would have, and hasn't."""
    newer: list[Coverage] = []
    seen: set[str] = set()
    for report in sorted(reports, key=lambda one: one.at, reverse=True):
        gone: dict[str, bool] = {}
        for pod in report.pods:
            uid, namespace = pod["uid"], pod["namespace"]
            if namespace not in gone:
                gone[namespace] = any(one.tells_absence_in(namespace) for one in newer)
            if uid not in seen and not gone[namespace]:
                yield pod, report.at
            seen.add(uid)
        newer.append(report.coverage)

"""A report that has been read and not yet kept, and what becomes of it."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Generic, NamedTuple, TypeVar

from sqlalchemy.orm import Session

from agent.wire.containers import ContainerReport
from agent.wire.pods import PodReport
from agent.wire.processes import ProcessReport
from api.auth import Principal
from api.schemas.reports import ReportAccepted
from db.ids import as_id

Report = TypeVar("Report", ProcessReport, ContainerReport, PodReport)


@dataclass(frozen=True)
class Incoming(Generic[Report]):
    """A report, who brought it, and when it was received. `made_at`: by the API's clock; None: as it says itself."""

    report: Report
    principal: Principal
    received_at: datetime
    made_at: datetime | None = None

    @cached_property
    def report_id(self) -> str:
        """Its own id, or one made of what it says, so that the same report twice is one."""
        said = self.report.report_id
        return said or "sha256:" + hashlib.sha256(self.report.model_dump_json().encode()).hexdigest()

    @cached_property
    def report_key(self) -> str:
        """What the history knows it by: 128 bits of the id's hash, in a UUID's shape."""
        return as_id(hashlib.blake2b(self.report_id.encode(), digest_size=16).digest())

    @property
    def reported_at(self) -> datetime:
        """When it was made; one from the future counts as made when it was received."""
        return min(self.made_at or self.report.reported_at, self.received_at)


class Accepted(NamedTuple, Generic[Report]):
    """A report that is being kept, no repetition. `newest`: no newer one was known when its turn came. `said`: a hash of
    everything that it says and that is no measurement, where there is one.
    """

    report: Report
    project_id: str | None
    reported_at: datetime
    received_at: datetime
    newest: bool
    said: int | None = None


Outcome = ReportAccepted | Exception
Judge = Callable[[Session, Sequence[Accepted[Report]]], None]
"""Called within the transaction that keeps the reports, in the order in which they came; their clients' newest rows
are locked. What it raises undoes the batch."""


def judge_nothing(_session: Session, _accepted: Sequence[Accepted[Report]]) -> None:
    """The judge that there is until alerts are."""

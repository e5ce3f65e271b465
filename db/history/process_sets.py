"""Process sets: what stays the same from one report to the next, kept once and found again."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from operator import attrgetter
from typing import Any, NamedTuple

from pydantic import TypeAdapter
from pydantic_core import to_json
from sqlalchemy import case, delete, exists, select
from sqlalchemy.orm import Session

from agent.wire.processes import ProcessInfo, ProcessReport
from db.history.dialects import insert_into
from db.ids import as_id
from db.models import LatestProcessReport, ProcessSet

SAMPLED = ("cpu_percent", "memory_mb", "memory_pct")
"""What is measured anew in each report, beside the status; everything else defines a process."""
MAX_REMEMBERED = 50_000

_DEFINED = tuple(name for name in ProcessInfo.model_fields if name not in (*SAMPLED, "status"))
_definition_of = attrgetter(*_DEFINED)
_DOCUMENTS = TypeAdapter(tuple[ProcessInfo, ...])
_HEADER = ("version", "observed_version", "release_id", "unmatched_rules")
_header_of = attrgetter(*_HEADER)


class SetKey(NamedTuple):
    """Which set a report has: whose it is, since when that client is registered, and the hash of what it says.

    The hash is this process's own (64 bits, of a few sets of one client): in the database there is a digest.
    """

    client_id: str
    registered_at: datetime
    project_id: str
    said: int


def key_of(report: ProcessReport, project_id: str, registered_at: datetime) -> SetKey:
    """The report's set's key."""
    said = hash((_header_of(report), tuple(map(_definition_of, report.processes))))
    return SetKey(report.client_id, registered_at, project_id, said)


@dataclass(frozen=True, slots=True)
class KnownSet:
    """A set's id, and the day until which the database keeps it for certain."""

    id: int
    last_day: date


class SetMemory:
    """The sets that this process has seen, so that most reports ask the database nothing. Not for two threads."""

    def __init__(self) -> None:
        self._known: dict[SetKey, KnownSet] = {}

    def find(self, key: SetKey, day: date) -> KnownSet | None:
        """The set, if it is known to be kept for that day."""
        found = self._known.get(key)
        return found if found is not None and found.last_day >= day else None

    def learn(self, sets: Mapping[SetKey, KnownSet]) -> None:
        """Remember them. Only once they are committed."""
        if len(self._known) + len(sets) > MAX_REMEMBERED:
            self._known.clear()
        self._known.update(sets)


@dataclass(frozen=True, slots=True)
class WantedSet:
    """A set that a report needs on a day."""

    key: SetKey
    report: ProcessReport
    day: date


def put_sets(session: Session, wanted: Sequence[WantedSet]) -> dict[SetKey, KnownSet]:
    """Keep these sets until their days at least; answers each with its id."""
    rows: dict[tuple[str, str, str], dict[str, Any]] = {}
    keys: dict[SetKey, tuple[str, str, str]] = {}
    for one in wanted:
        row = _row_of(one)
        identity = (one.key.project_id, one.key.client_id, row["digest"])
        keys[one.key] = identity
        if identity not in rows or rows[identity]["last_day"] < one.day:
            rows[identity] = row
    # In one order, so that two processes that keep the same sets never wait for each other.
    insert = insert_into(session, ProcessSet)
    later = case(
        (ProcessSet.last_day < insert.excluded.last_day, insert.excluded.last_day), else_=ProcessSet.last_day
    )
    put = insert.on_conflict_do_update(
        index_elements=["client_id", "project_id", "digest"], set_={"last_day": later}
    ).returning(
        ProcessSet.project_id, ProcessSet.client_id, ProcessSet.digest, ProcessSet.id, ProcessSet.last_day
    )
    kept = {
        (row.project_id, row.client_id, row.digest): KnownSet(row.id, row.last_day)
        for row in session.execute(put, [rows[identity] for identity in sorted(rows)])
    }
    return {key: kept[identity] for key, identity in keys.items()}


def _row_of(wanted: WantedSet) -> dict[str, Any]:
    report = wanted.report
    definitions = _DOCUMENTS.dump_python(
        report.processes, mode="json", exclude={"__all__": {"status", *SAMPLED}}, exclude_none=True
    )
    header = dict(zip(_HEADER, _header_of(report), strict=True))
    said = to_json([header, definitions])
    return {
        "client_id": report.client_id,
        "project_id": wanted.key.project_id,
        "digest": as_id(hashlib.blake2b(said, digest_size=16).digest()),
        "definitions": definitions,
        "last_day": wanted.day,
        **header,
        "unmatched_rules": list(report.unmatched_rules),
    }


def drop_old_sets(session: Session, before: date, limit: int) -> int:
    """Delete sets whose last report is of a day before that one, `limit` at most; answers how many.

    A client's newest report stays, however old, and its set with it.
    """
    used = exists().where(LatestProcessReport.set_id == ProcessSet.id)
    old = select(ProcessSet.id).where(ProcessSet.last_day < before, ~used).limit(limit)
    ids = session.scalars(old.order_by(ProcessSet.last_day)).all()
    if ids:
        # Asked once more: one of them may have been reported again meanwhile.
        session.execute(delete(ProcessSet).where(ProcessSet.id.in_(ids), ProcessSet.last_day < before))
    return len(ids)

"""Who may report what: asked once for a whole batch, in the transaction that keeps the reports."""

import hmac
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import select
from sqlalchemy.orm import Session

from api.auth import Principal
from api.errors import Refused, unauthorized
from db.errors import RowNotFoundError
from db.history.dialects import is_one_of
from db.history.forgetting import keep_from_forgetting
from db.models import Client, Installation, Project, Target
from db.queries import projects
from db.queries.paging import escaped
from db.rows import read_rows


class KnownTarget(NamedTuple):
    """A project that a client is a target of, and its installation there."""

    project_id: str
    project_name: str
    installation_id: str | None
    observed_version: str | None


@dataclass(frozen=True, slots=True)
class KnownClient:
    """A client, its report tokens' hashes, and its targets."""

    client_id: str
    registered_at: datetime
    token_sha256: str
    old_token_sha256: str | None
    old_token_until: datetime | None
    targets: list[KnownTarget] = field(default_factory=list)

    def find_target(self, project: str) -> KnownTarget | None:
        """The target in the project of that id or name."""
        wanted = project.lower()
        return next(
            (one for one in self.targets if one.project_id == wanted or one.project_name == project), None
        )


def read_clients(session: Session, client_ids: Iterable[str]) -> dict[str, KnownClient]:
    """Those of the clients that are registered, with everything they are targets of. None is deleted before the transaction ends."""
    keep_from_forgetting(session)
    known: dict[str, KnownClient] = {}
    for row in read_rows(session, _CLIENTS, {"clients": sorted(set(client_ids))}):
        client = known.setdefault(row[0], KnownClient(*row[:5]))
        if row[5] is not None:
            client.targets.append(KnownTarget._make(row[5:]))
    return known


_CLIENTS = (
    select(
        Client.client_id,
        Client.created_at,
        Client.report_token_sha256,
        Client.old_report_token_sha256,
        Client.old_report_token_until,
        Target.project_id,
        Project.name,
        Installation.id,
        Installation.observed_version,
    )
    .outerjoin(Target, Target.client_id == Client.client_id)
    .outerjoin(Project, Project.id == Target.project_id)
    .outerjoin(Installation, Installation.target_id == Target.id)
    .where(is_one_of(Client.client_id, "clients"))
)


def find_client(
    known: Mapping[str, KnownClient], client_id: str, caller: Principal, now: datetime
) -> KnownClient:
    """The client, as which the caller may report. Raises Refused and RowNotFoundError."""
    if caller.role == "agent" and caller.client_id != client_id:
        raise Refused(403, f"cannot report for another client: this token is {caller.client_id}'s")
    client = known.get(client_id)
    if caller.role == "agent" and not (
        client is not None and _is_its_token(client, caller.token_sha256, now)
    ):
        raise unauthorized()
    if client is None:
        raise RowNotFoundError(f"there is no client {escaped(client_id)}")
    return client


def _is_its_token(client: KnownClient, token_sha256: str, now: datetime) -> bool:
    if hmac.compare_digest(client.token_sha256, token_sha256):
        return True
    until = client.old_token_until
    return (
        until is not None and until > now and hmac.compare_digest(client.old_token_sha256 or "", token_sha256)
    )


def find_target(session: Session, client: KnownClient, project: str, caller: Principal) -> KnownTarget:
    """The target that the client is in the project of that id or name. Raises Refused and RowNotFoundError."""
    target = client.find_target(project)
    if target is None:
        projects.get_project(session, project)
        status = 403 if caller.role == "agent" else 422
        raise Refused(
            status, f"cannot take the report: client {client.client_id} is no target of that project"
        )
    return target

"""The same report taken in other ways: an insert per request through the ORM or a psycopg pool, or none at all.

Each validates the report alike. The peers keep the history alone, as a JSONB row: neither a newest row nor a token.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

from fastapi import FastAPI
from psycopg_pool import AsyncConnectionPool
from pydantic_core import to_json
from sqlalchemy import String, create_engine
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column
from sqlalchemy.types import DateTime
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from agent.wire.processes import ProcessReport
from api.ingest.quick import ReadProcessReport
from api.schemas.reports import ReportAccepted
from db.settings import database_url, parse_url

POOL = 16
CREATE = """
CREATE TABLE IF NOT EXISTS peer_reports (
    client_id text, report_id text, project_id text, version text, observed_version text, release_id text,
    reported_at timestamptz, received_at timestamptz DEFAULT now(), processes jsonb, unmatched_rules jsonb,
    PRIMARY KEY (client_id, report_id)
);
CREATE INDEX IF NOT EXISTS peer_reports_by_time ON peer_reports (client_id, reported_at DESC)
"""
INSERT = (
    "INSERT INTO peer_reports (client_id, report_id, project_id, version, observed_version, release_id, reported_at, "
    "processes, unmatched_rules) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING"
)


def accepted(report_id: str) -> ReportAccepted:
    return ReportAccepted(report_id=report_id, duplicate=False, newest=True)


def _reply(report: ProcessReport) -> Response:
    return Response(accepted(report.report_id or "").model_dump_json(), 202, media_type="application/json")


class Base(DeclarativeBase):
    pass


class PeerReport(Base):
    __tablename__ = "peer_reports"

    client_id: Mapped[str] = mapped_column(String, primary_key=True)
    report_id: Mapped[str] = mapped_column(String, primary_key=True)
    project_id: Mapped[str] = mapped_column(String)
    version: Mapped[str] = mapped_column(String)
    observed_version: Mapped[str | None] = mapped_column(String)
    release_id: Mapped[str | None] = mapped_column(String)
    reported_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    processes: Mapped[list[dict[str, Any]]] = mapped_column(JSONB)
    unmatched_rules: Mapped[list[str]] = mapped_column(JSONB)


def fastapi_orm() -> FastAPI:
    """FastAPI and an ORM insert for each request, in FastAPI's threads."""
    app = FastAPI()
    engine = create_engine(parse_url(database_url()), pool_size=POOL, max_overflow=POOL)

    @app.post("/release/process-report")
    def take(body: ReadProcessReport) -> Response:
        with Session(engine) as session, session.begin():
            session.add(PeerReport(**body.model_dump(mode="json", exclude={"dropped_reports"})))
        return _reply(body)

    return app


def fastapi_psycopg_pool() -> FastAPI:
    """FastAPI and an INSERT for each request, through psycopg's asynchronous pool."""
    url = parse_url(database_url()).set(drivername="postgresql").render_as_string(hide_password=False)
    pool = AsyncConnectionPool(url, min_size=POOL, max_size=POOL, open=False)

    @asynccontextmanager
    async def live(_app: FastAPI) -> AsyncIterator[None]:
        async with pool:
            yield

    app = FastAPI(lifespan=live)

    @app.post("/release/process-report")
    async def take(body: ReadProcessReport) -> Response:
        values = (
            body.client_id,
            body.report_id,
            body.project_id,
            body.version,
            body.observed_version,
            body.release_id,
            body.reported_at,
            to_json(body.processes).decode(),
            to_json(body.unmatched_rules).decode(),
        )
        async with pool.connection() as connection:
            await connection.execute(INSERT, values)
        return _reply(body)

    return app


def fastapi_validation() -> FastAPI:
    """The floor: FastAPI and the validation, no database."""
    app = FastAPI()

    @app.post("/release/process-report")
    async def take(request: Request) -> Response:
        return _reply(ReadProcessReport.model_validate_json(await request.body()))

    return app


def bare_validation() -> Any:
    """The floor's floor: ASGI itself and the validation."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            body = await Request(scope, receive).body()
            await _reply(ReadProcessReport.model_validate_json(body))(scope, receive, send)

    return app

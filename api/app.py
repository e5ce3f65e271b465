"""The release API's application: routers behind the guard, every error a problem."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial

from anyio import to_thread
from fastapi import FastAPI

from api import docs_page
from api.alerting import judge_container_reports, judge_pod_reports, judge_process_reports
from api.auth import Authenticator, NamedToken
from api.guard import Guard
from api.housekeeping import housekeeping
from api.ingest.quick import QuickReports
from api.ingest.writing import Ingest
from api.metrics.fleet import FleetMetrics
from api.openapi import openapi_document
from api.parts import Parts
from api.problems import add_problem_handlers
from api.routes import (
    alerts,
    audit,
    clients,
    containers,
    deploy_tasks,
    drift,
    environments,
    freezes,
    health,
    installations,
    pods,
    projects,
    reports,
    results,
    silences,
    steering,
    targets,
    versions,
)
from api.routes import ingest as report_ingest

ROUTERS = (
    report_ingest.router,
    projects.router,
    environments.router,
    clients.router,
    targets.router,
    versions.router,
    installations.router,
    drift.router,
    deploy_tasks.router,
    results.router,
    reports.router,
    containers.router,
    pods.router,
    alerts.router,
    silences.router,
    steering.router,
    freezes.router,
    audit.router,
    health.router,
    docs_page.router,
)


def build_app(parts: Parts, tokens: tuple[NamedToken, ...], ingest: Ingest | None = None) -> FastAPI:
    """The whole application. `tokens` are the named ones; agents' are in the database. `ingest` keeps the reports."""
    app = FastAPI(
        title="Hoist release API",
        version="1",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        telemetry={
            "tracing": False,
            "metrics": False,
            "logs": False,
        },  # /metrics is ours, and nothing leaves by itself
        lifespan=partial(_live, parts),
    )
    app.state.parts = parts
    kept_for = timedelta(days=parts.settings.report_history_days)
    app.state.ingest = ingest or Ingest(
        parts.database,
        kept_for,
        judge_process_reports,
        judge_container_reports,
        judge_pod_reports,
        metrics=parts.metrics,
    )
    parts.metrics.registry.register(FleetMetrics(parts.database))
    add_problem_handlers(app)
    app.add_middleware(QuickReports, ingest=app.state.ingest)
    app.add_middleware(
        Guard,
        settings=parts.settings,
        authenticator=Authenticator(tokens, parts.database),
        count=parts.metrics.count_request,
    )
    for router in ROUTERS:
        app.include_router(router)
    app.openapi = partial(openapi_document, app)  # type: ignore[method-assign] # FastAPI's documented way
    return app


@asynccontextmanager
async def _live(parts: Parts, app: FastAPI) -> AsyncIterator[None]:
    async with housekeeping(parts):
        try:
            yield
        finally:
            await to_thread.run_sync(app.state.ingest.close)

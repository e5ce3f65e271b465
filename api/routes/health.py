"""/healthz, /readyz and /metrics: for what watches over the API."""

from fastapi import APIRouter
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from sqlalchemy import text
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from agent.wire.base import Answer
from api.calls import Asked
from api.errors import TransientApiError
from api.parts import Parts
from api.replies import Reply
from db.errors import DatabaseError

router = APIRouter(tags=["health"])


class Health(Answer):
    """`ok`, and nothing else to know."""

    status: str = "ok"


@router.get("/healthz", response_model=Health)
async def healthz() -> Response:
    """The process is alive."""
    return Reply(200, Health()).response()


@router.get("/readyz", response_model=Health)
async def readyz(request: Request) -> Response:
    """The process can answer: its database does."""
    parts: Parts = request.app.state.parts
    await run_in_threadpool(_check_database, parts)
    return Reply(200, Health()).response()


def _check_database(parts: Parts) -> None:
    try:
        with parts.database.read() as session:
            session.execute(text("SELECT 1"))
    except DatabaseError as error:
        raise TransientApiError("database", "not ready: the database can't be reached") from error


@router.get("/metrics", response_class=PlainTextResponse)
def metrics(call: Asked) -> Response:
    """What this process counts, and the fleet's state, in Prometheus' text format."""
    return Response(call.parts.metrics.render(), media_type=CONTENT_TYPE_PLAIN_0_0_4)

"""Silences: /release/silences."""

from fastapi import APIRouter
from sqlalchemy import select
from sqlalchemy.orm import Session
from starlette.responses import Response

from api.body import StrictRoute
from api.calls import Asked, Posted
from api.errors import Refused, invalid
from api.idempotency import perform
from api.pagination import Cursor, Limit, cut_page, decode_cursor, page_response
from api.replies import Reply
from api.schemas.alerts import SilenceAnswer, SilenceCreate
from api.trail import record
from db.ids import is_id
from db.models import Silence
from db.queries.paging import page_of

router = APIRouter(prefix="/release/silences", tags=["alerts"], route_class=StrictRoute)


def silence_answer(silence: Silence) -> SilenceAnswer:
    """The silence, on the wire."""
    return SilenceAnswer.model_validate({name: getattr(silence, name) for name in SilenceAnswer.model_fields})


@router.post("", status_code=201, response_model=SilenceAnswer)
def create_silence(body: SilenceCreate, call: Posted) -> Response:
    """Tell nobody of what matches, for a while."""
    starts_at = body.starts_at or call.now
    if body.ends_at <= max(starts_at, call.now):
        raise invalid("ends_at", "must be in the future, and after starts_at")

    def change(session: Session) -> Reply:
        silence = Silence(
            matchers=body.matchers,
            starts_at=starts_at,
            ends_at=body.ends_at,
            created_by=body.created_by,
            comment=body.comment,
            who=call.who,
        )
        session.add(silence)
        session.flush()
        said = {"ends_at": body.ends_at.isoformat(), "comment": body.comment[:200]}
        record(session, call, "silence.create", silence.id, detail=said)
        return Reply(201, silence_answer(silence))

    return perform(call, change)


@router.get("", response_model=list[SilenceAnswer])
def list_silences(call: Asked, limit: Limit = 100, cursor: Cursor = None) -> Response:
    """List silences, the newest first, those that are over too."""
    after = decode_cursor(cursor, is_id)
    with call.database.read() as session:
        query = select(Silence)
        found = page_of(session, query, Silence.id, limit=limit + 1, cursor=after, newest_first=True)
        rows, next_key = cut_page(found, limit, lambda row: row.id)
        return page_response(call.url, [silence_answer(row) for row in rows], next_key)


@router.delete("/{silence_id}", status_code=204)
def delete_silence(silence_id: str, call: Asked) -> Response:
    """End a silence now: what it kept back and still fires is told."""
    with call.database.write() as session:
        silence = session.get(Silence, silence_id.lower()) if is_id(silence_id) else None
        if silence is None:
            raise Refused(404, "there is no such silence")
        record(session, call, "silence.delete", silence.id)
        session.delete(silence)
    return Reply(204).response()

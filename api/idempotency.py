"""Idempotency-Key: the same POST with the same key is done once, and answered the same.

The key is reserved in a transaction of its own; the answer is kept in the transaction of the change itself, so a
crash between the two leaves a reservation that says nothing happened, and that is taken over after a while.
https://datatracker.ietf.org/doc/draft-ietf-httpapi-idempotency-key-header/
"""

from collections.abc import Callable
from datetime import timedelta

from sqlalchemy import delete, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session
from starlette.responses import Response

from api.calls import Call
from api.errors import Refused, conflict
from api.replies import Reply
from db.ids import new_id
from db.models import IdempotencyKey

KEPT_FOR = timedelta(days=1)
ABANDONED_AFTER = timedelta(minutes=5)


def perform(call: Call, change: Callable[[Session], Reply]) -> Response:
    """Do `change` in one transaction and answer; with a key that was seen before, answer what was answered then."""
    if call.key is None:
        with call.database.write() as session:
            reply = change(session)
        return reply.response()

    def act(reservation: str) -> Reply:
        with call.database.write() as session:
            reply = change(session)
            _keep(session, call, reservation, reply)
        return reply

    return _once(call, act)


def perform_steps(call: Call, action: Callable[[], Reply]) -> Response:
    """Like `perform`, for what can't be one transaction: `action` makes its own, and the answer is kept after it."""
    if call.key is None:
        return action().response()

    def act(reservation: str) -> Reply:
        reply = action()
        with call.database.write() as session:
            _keep(session, call, reservation, reply)
        return reply

    return _once(call, act)


def _once(call: Call, act: Callable[[str], Reply]) -> Response:
    with call.database.write() as session:
        reserved = _reserve(session, call)
    if isinstance(reserved, Response):
        return reserved
    try:
        return act(reserved).response()
    except BaseException:
        with call.database.write() as session:
            session.execute(
                delete(IdempotencyKey).where(
                    IdempotencyKey.id == reserved, IdempotencyKey.status_code.is_(None)
                )
            )
        raise


def _reserve(session: Session, call: Call) -> str | Response:
    """A reservation's id, or the answer that the key got before. Raises Refused."""
    session.execute(delete(IdempotencyKey).where(IdempotencyKey.created_at < call.now - KEPT_FOR))
    abandoned = IdempotencyKey.created_at < call.now - ABANDONED_AFTER
    session.execute(
        delete(IdempotencyKey).where(
            IdempotencyKey.who == call.who,
            IdempotencyKey.key == call.key,
            IdempotencyKey.status_code.is_(None),
            abandoned,
        )
    )
    insert = sqlite.insert if call.database.is_sqlite else postgresql.insert
    reservation = new_id()
    row = {
        "id": reservation,
        "who": call.who,
        "key": call.key,
        "request_sha256": call.request_sha256,
        "created_at": call.now,
    }
    put = insert(IdempotencyKey).values(row).on_conflict_do_nothing().returning(IdempotencyKey.id)
    return _kept_answer(session, call) if session.scalar(put) is None else reservation


def _kept_answer(session: Session, call: Call) -> Response:
    kept = session.scalars(
        select(IdempotencyKey).where(IdempotencyKey.who == call.who, IdempotencyKey.key == call.key)
    ).one_or_none()
    if kept is None:
        raise conflict("cannot tell what became of that Idempotency-Key: ask again")
    if kept.request_sha256 != call.request_sha256:
        raise Refused(422, "cannot use that Idempotency-Key: another request was made with it")
    if kept.status_code is None or kept.answer_encrypted is None:
        raise conflict("cannot answer yet: the first request with that Idempotency-Key is still running")
    body = call.box.decrypt(kept.answer_encrypted)
    return Response(body, kept.status_code, {"Idempotent-Replayed": "true"}, "application/json")


def _keep(session: Session, call: Call, reservation: str, reply: Reply) -> None:
    answer = call.box.encrypt(bytes(reply.response().body).decode()).decode()
    put = (
        update(IdempotencyKey)
        .where(IdempotencyKey.id == reservation)
        .values(status_code=reply.status, answer_encrypted=answer)
        .returning(IdempotencyKey.id)
    )
    if session.scalar(put) is None:
        raise conflict("cannot finish: another request with that Idempotency-Key took over")

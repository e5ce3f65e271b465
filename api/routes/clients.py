"""Clients: /release/clients."""

from datetime import timedelta

from fastapi import APIRouter
from sqlalchemy.orm import Session
from starlette.responses import Response

from api.body import StrictRoute
from api.calls import Asked, Call, Posted
from api.errors import conflict, invalid, taken
from api.idempotency import perform
from api.pagination import Cursor, Limit, cut_page, decode_cursor, page_response
from api.replies import Reply
from api.schemas.clients import (
    ClientAnswer,
    ClientChange,
    ClientCreate,
    ClientCreated,
    Hold,
    HoldAnswer,
    RotateAnswer,
    RotateRequest,
)
from api.trail import record
from db.models import Client
from db.queries import clients
from db.secrets import new_token, sha256_hex
from tasks.planning.deregistered import settle_in_ended

router = APIRouter(prefix="/release/clients", tags=["clients"], route_class=StrictRoute)


def client_answer(client: Client) -> ClientAnswer:
    """The client, on the wire: without its token."""
    held = None
    if client.held_reason is not None:
        held = HoldAnswer(reason=client.held_reason, until=client.held_until)
    return ClientAnswer(
        id=client.client_id,
        client_id=client.client_id,
        url=client.url,
        labels=client.labels,
        has_token=client.token_encrypted is not None,
        held=held,
        online=client.online,
        online_since=client.online_since,
        heard_at=client.heard_at,
        created_at=client.created_at,
        updated_at=client.updated_at,
    )


@router.post("", status_code=201, response_model=ClientCreated, summary="Register a client")
def create_client(body: ClientCreate, call: Posted) -> Response:
    """The answer carries `report_token`, once: give it to the agent as HOIST_AGENT_API_TOKEN."""

    def change(session: Session) -> Reply:
        if clients.find_client(session, body.client_id) is not None:
            raise taken("client_id", body.client_id)
        report_token = new_token()
        client = Client(
            client_id=body.client_id,
            url=body.url,
            labels=body.labels,
            token_encrypted=call.box.encrypt(body.token) if body.token else None,
            report_token_sha256=sha256_hex(report_token),
        )
        session.add(client)
        session.flush()
        record(session, call, "client.create", client.client_id, client_id=client.client_id)
        return Reply(201, ClientCreated(**client_answer(client).model_dump(), report_token=report_token))

    return perform(call, change)


@router.get("", response_model=list[ClientAnswer])
def list_clients(call: Asked, limit: Limit = 100, cursor: Cursor = None) -> Response:
    """List clients."""
    with call.database.read() as session:
        found = clients.list_clients(session, limit=limit + 1, cursor=decode_cursor(cursor))
        rows, after = cut_page(found, limit, lambda row: row.client_id)
        return page_response(call.url, [client_answer(row) for row in rows], after)


@router.get("/{client_id}", response_model=ClientAnswer)
def get_client(client_id: str, call: Asked) -> Response:
    """One client."""
    with call.database.read() as session:
        return Reply(200, client_answer(clients.get_client(session, client_id))).response()


@router.patch("/{client_id}", response_model=ClientAnswer)
def change_client(client_id: str, body: ClientChange, call: Asked) -> Response:
    """Change a client; hold it, let it go."""
    given = body.model_fields_set
    with call.database.write() as session:
        client = clients.get_client(session, client_id)
        _change_address(client, body, call)
        if "labels" in given:
            client.labels = body.labels
        if "held" in given:
            _hold(client, body.held, call)
        client.updated_at = call.now
        detail = {"fields": sorted(given)}
        record(session, call, "client.change", client.client_id, client_id=client.client_id, detail=detail)
        session.flush()
        return Reply(200, client_answer(client)).response()


def _change_address(client: Client, body: ClientChange, call: Call) -> None:
    given = body.model_fields_set
    if "url" in given and body.url != client.url:
        if client.token_encrypted is not None and "token" not in given:
            raise invalid("token", "a changed url needs the token again")
        client.url = body.url
    if "token" in given:
        client.token_encrypted = call.box.encrypt(body.token) if body.token else None


def _hold(client: Client, hold: Hold | None, call: Call) -> None:
    if hold is not None and hold.until is not None and hold.until <= call.now:
        raise invalid("held.until", "must be in the future")
    client.held_reason = hold.reason if hold else None
    client.held_until = hold.until if hold else None


@router.delete("/{client_id}", status_code=204)
def delete_client(client_id: str, call: Asked) -> Response:
    """Forget a client: its targets, installations and reports go with it; results, history and audit trail stay.

    Refused while a deploy task that has it in its plan is going on.
    """
    with call.database.write() as session:
        client = clients.get_client(session, client_id)
        check_not_in_hand(session, client.client_id, f"delete client {client.client_id}")
        record(session, call, "client.delete", client.client_id, client_id=client.client_id)
        clients.delete_client(session, client.client_id)
        settle_in_ended(session, client_id, call.now)
    return Reply(204).response()


def check_not_in_hand(session: Session, client_id: str, what: str) -> None:
    """Raises Refused (409) while a deploy task that has the client in its plan is going on; `what`: "delete client a"."""
    deploy_task = clients.deploy_task_in_hand(session, client_id)
    if deploy_task is not None:
        raise conflict(
            f"cannot {what}: deploy task {deploy_task} has it in hand; wait for its end, or cancel it"
        )


@router.post("/{client_id}/rotate", response_model=RotateAnswer, summary="Give a client a new report token")
def rotate_report_token(client_id: str, call: Posted, body: RotateRequest | None = None) -> Response:
    """The token before is good for `overlap_s` more; one before that ends now."""

    def change(session: Session) -> Reply:
        client = clients.get_client(session, client_id)
        overlap_s = (body or RotateRequest()).overlap_s
        until = call.now + timedelta(seconds=overlap_s) if overlap_s else None
        token = new_token()
        client.old_report_token_sha256 = client.report_token_sha256 if overlap_s else None
        client.old_report_token_until = until
        client.report_token_sha256 = sha256_hex(token)
        client.updated_at = call.now
        record(session, call, "client.rotate", client.client_id, client_id=client.client_id)
        answer = RotateAnswer(client_id=client.client_id, report_token=token, old_token_good_until=until)
        return Reply(200, answer)

    return perform(call, change)

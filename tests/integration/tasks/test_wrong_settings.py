"""A worker with a wrong setting: its runs are refused by one line, and nothing is written down."""

import pytest
from sqlalchemy import select

from db.models import AuditEntry, Client, DeployTask
from flows.heartbeat import heartbeat
from tests.integration.tasks.test_dry_run import FORM
from tests.integration.tasks.test_upgrade_flow import run

WRONG = [
    ("HOIST_RETRY_WINDOW_S", "abc", "it is not a number from 0 to 1000000000"),
    ("HOIST_LEASE_TTL_S", "soon", "it is not a number from 0.1 to 1000000000"),
    ("HOIST_TLS_CA", "/nope", "cannot read /nope: No such file or directory"),
    ("HOIST_TLS_CERT", "/nope", "cannot read /nope: No such file or directory"),
]


@pytest.mark.parametrize(("name", "value", "why"), WRONG)
async def test_upgrade_is_refused_before_its_deploy_task_is_touched(
    quick_shop, monkeypatch, name, value, why
):
    task_id = quick_shop.plan()
    before = quick_shop.task(task_id)
    with quick_shop.database.read() as session:
        audited = len(session.scalars(select(AuditEntry)).all())
    monkeypatch.setenv(name, value)
    for asked in ({"deploy_task_id": task_id}, {"request": FORM}, {"request": FORM, "dry_run": True}):
        state = await run(**asked)
        assert (state.name, state.message) == ("Refused", f"cannot use {name}: {why}")
    after = quick_shop.task(task_id)
    assert after.status == before.status == "pending"
    assert (after.status_reason, after.updated_at) == (before.status_reason, before.updated_at)
    with quick_shop.database.read() as session:
        assert [one.id for one in session.scalars(select(DeployTask))] == [task_id]
        assert len(session.scalars(select(AuditEntry)).all()) == audited


async def test_heartbeat_is_refused_before_anybody_is_marked(quick_shop, monkeypatch):
    monkeypatch.setenv("HOIST_TLS_CA", "/nope")
    state = await heartbeat(return_state=True)
    assert state.name == "Refused"
    assert state.message == "cannot use HOIST_TLS_CA: cannot read /nope: No such file or directory"
    with quick_shop.database.read() as session:
        assert {row.online_since for row in session.scalars(select(Client))} == {None}

"""`hoist watch` over a deploy task that moves while it is watched: its rows change as a flow's tasks change them."""

import signal

import pytest

from api.cli import watching
from db.documents.hold import HoldState
from db.models import DeployResult, DeployTask, Environment, Installation, utc_now
from tasks.planning.controls import begin_run, finish_run
from tasks.planning.steering import hold_at, roll_back
from tests.builders import create_fleet
from tests.hoist_process import HoistProcess
from tests.served_api import OPERATOR
from tests.tcp_proxy import TcpProxy


class Campaign:
    """A deploy task whose course is told step by step, as the flow does it."""

    def __init__(self, served, operator):
        self.served, self.operator = served, operator
        with served.database.write() as session:
            create_fleet(session, {"a": "1.4", "b": "1.4", "c": "1.4"})
        body = {"project_id": "shop", "version": "1.5", "operation": "update", "auto_select_clients": True}
        body |= {"strategy": {"waves": [1, "100%"]}}
        self.id = operator.post("/release/tasks", json=body).json()["id"]

    def _change(self, action):
        with self.served.database.write() as session:
            action(session, session.get(DeployTask, self.id))

    def begin(self):
        def change(session, task):
            self.fence = begin_run(session, task, "flow run 7", utc_now())

        self._change(change)

    def put(self, client, status, error=None):
        def change(session, _task):
            row = session.query(DeployResult).filter_by(deploy_task_id=self.id, client_id=client).one()
            row.status, row.error = status, error

        self._change(change)

    def finish(self):
        self._change(
            lambda session, task: finish_run(session, task, "flow run 7", utc_now(), fence=self.fence)
        )

    def hold(self, kind):
        waits = HoldState(kind=kind, wave=1, reason=f"waits for {kind}", since=utc_now())
        self._change(lambda _session, task: hold_at(task, waits))

    def go_on(self):
        self._change(lambda _session, task: hold_at(task, None))

    def ask_for_approval(self):
        def change(session, task):
            session.query(Environment).one().require_approval = True
            task.creator = "somebody else"

        self._change(change)

    def succeed(self):
        def change(session, task):
            for row in session.query(DeployResult):
                row.status, row.ran = "success", True
            for row in session.query(Installation):
                row.version, row.previous_version, row.deploy_task_id = "1.5", "1.4", task.id

        self._change(change)
        self.finish()

    def undo(self):
        """What the release API does with it, where there is a Prefect."""
        self._change(lambda session, task: roll_back(session, task, "ops", utc_now()))

    def pause(self):
        def change(_session, task):
            task.status, task.status_reason = "paused", "its run is gone"

        self._change(change)


@pytest.fixture
def campaign(served, operator):
    return Campaign(served, operator)


@pytest.fixture
def watch(served):
    started = []

    def start(*arguments, url=served.url, tty=False):
        started.append(HoistProcess(url, OPERATOR, *arguments, tty=tty))
        return started[-1]

    yield start
    for one in started:
        one.close()


def test_watch_tells_what_happens_and_ends_with_0(campaign, watch):
    watcher = watch("watch", campaign.id)
    watcher.wait_for("update of shop 1.4 → 1.5 in prod")
    watcher.wait_for("pending")
    campaign.begin()
    watcher.wait_for(" running")
    campaign.put("a", "success")
    watcher.wait_for("a succeeded")
    watcher.wait_for("wave 1 of 2 is over: 1 of 1 succeeded")
    campaign.put("b", "success")
    campaign.put("c", "success")
    campaign.finish()
    code, out = watcher.end()
    assert (code, out) == (
        0,
        f"deploy task {campaign.id} is completed\n3 clients: 3 succeeded\n",
    )
    assert "wave 2 of 2 is over: 2 of 2 succeeded" in watcher.said
    assert OPERATOR not in watcher.said


def test_watch_ends_with_1_where_a_client_failed(campaign, watch):
    campaign.begin()
    watcher = watch("watch", campaign.id, "--json")
    campaign.put("a", "failed", "exit code 3")
    watcher.wait_for("a failed: exit code 3")
    campaign.finish()
    code, out = watcher.end()
    assert code == 1
    document = campaign.operator.get(f"/release/tasks/{campaign.id}").json()
    assert out.startswith("{")
    assert campaign.id in out
    assert document["status"] == "failed"
    assert f"try them again: hoist retry {campaign.id}" in watcher.said


def test_ctrl_c_ends_the_watching_alone(campaign, watch):
    campaign.begin()
    watcher = watch("watch", campaign.id)
    watcher.wait_for(" running")
    watcher.process.send_signal(signal.SIGINT)
    code, out = watcher.end()
    assert (code, out) == (5, "")
    assert f"deploy task {campaign.id} goes on" in watcher.said
    assert f"watch it again: hoist watch {campaign.id}" in watcher.said
    assert "Traceback" not in watcher.said
    assert campaign.operator.get(f"/release/tasks/{campaign.id}").json()["status"] == "running"


def test_paused_ends_the_watching_with_5(campaign, watch):
    campaign.begin()
    watcher = watch("watch", campaign.id)
    watcher.wait_for(" running")
    campaign.pause()
    assert watcher.end()[0] == 5
    assert f"let it go on: hoist start {campaign.id}" in watcher.said


@pytest.mark.parametrize(
    ("kind", "word"),
    [("operator", "resume"), ("wave", "promote"), ("approval", "approve"), ("failures", "undo")],
)
def test_watch_right_after_a_word_waits_for_the_run_to_go_on(campaign, watch, kind, word):
    campaign.ask_for_approval()
    campaign.begin()
    campaign.put("a", "running")
    campaign.hold(kind)
    assert watch(word, campaign.id).end()[0] == 0
    watcher = watch("watch", campaign.id)
    watcher.wait_for("nothing holds it: a run has 30 s to go on with it")
    campaign.go_on()
    for client in "abc":
        campaign.put(client, "success")
    campaign.finish()
    assert watcher.end()[0] == 0
    assert watcher.said.count("nothing holds it") == 1


def test_watch_right_after_the_undo_of_an_ended_one_waits_for_a_run(campaign, watch):
    campaign.begin()
    campaign.succeed()
    campaign.undo()
    watcher = watch("watch", campaign.id)
    watcher.wait_for("nothing holds it")
    campaign.begin()
    watcher.wait_for("rolling_back")
    for client in "abc":
        campaign.put(client, "rolled_back")
    campaign.finish()
    watcher.end()
    assert "did not complete: rolled_back" in watcher.said


def test_watch_of_one_that_nothing_holds_and_no_run_takes_up_says_how_to_start_it(
    campaign, hoist, monkeypatch
):
    monkeypatch.setattr(watching, "BEGINS_S", 1.5)
    campaign.begin()
    campaign.pause()
    said = hoist("watch", campaign.id, code=5).err
    assert "nothing holds it" in said
    assert f"let it go on: hoist start {campaign.id}" in said


def test_on_a_terminal_it_draws_waves_and_who_is_at_work(campaign, watch):
    campaign.begin()
    watcher = watch("watch", campaign.id, tty=True)
    campaign.put("a", "success")
    campaign.put("b", "running")
    for text in (
        "wave 1",
        "1/1",
        "wave 2",
        "0/2",
        "at work: b",
        "3 clients: 1 succeeded, 1 running, 1 pending",
    ):
        watcher.wait_for(text)
    campaign.put("b", "success")
    campaign.put("c", "success")
    campaign.finish()
    code, out = watcher.end()
    assert (code, out.splitlines()[-1]) == (0, "3 clients: 3 succeeded")


def test_ctrl_c_on_a_terminal_gives_the_cursor_back(campaign, watch):
    campaign.begin()
    watcher = watch("watch", campaign.id, tty=True)
    watcher.wait_for("at work: nobody")
    watcher.process.send_signal(signal.SIGINT)
    assert watcher.end()[0] == 5
    hidden, shown = watcher.said.rfind("\x1b[?25l"), watcher.said.rfind("\x1b[?25h")
    assert 0 <= hidden < shown


def test_an_api_that_is_away_for_a_while_is_asked_again(campaign, watch, served):
    proxy = TcpProxy(int(served.url.rsplit(":", 1)[1]))
    campaign.begin()
    try:
        watcher = watch("watch", campaign.id, url=f"http://127.0.0.1:{proxy.port}")
        watcher.wait_for(" running")
        proxy.open = False
        proxy.cut()
        watcher.wait_for("asking again")
        for client in "abc":
            campaign.put(client, "success")
        campaign.finish()
        proxy.open = True
        watcher.wait_for("answers again")
        assert watcher.end()[0] == 0
    finally:
        proxy.close()


def test_watch_of_nothing_is_refused(watch):
    watcher = watch("watch", "nope")
    assert watcher.end()[0] == 3

"""`hoist` over a real fleet: upgrade with live progress, detach, go on watching, fail, retry, go back."""

import json
import signal

import pytest

from deployments.demo.processes import wait_until
from tests.e2e.shop import Shop
from tests.hoist_process import HoistProcess

PATIENCE_S = 180
QUICK = ("--stable-for", "1", "--health-timeout", "20")


@pytest.fixture
def hoist(fleet):
    """Start a command; `ended` waits for its end and answers exit code and standard output."""
    started = []

    def start(*arguments, tty=False):
        started.append(HoistProcess(fleet.api_url, fleet.operator_token, *arguments, tty=tty))
        return started[-1]

    yield start
    for one in started:
        one.close()


def ended(process):
    code, out = process.end(PATIENCE_S)
    return code, out, process.said


def test_upgrade_is_watched_and_what_it_did_is_shown(fleet, hoist):
    shop = Shop(fleet, ("web-1", "web-2"))
    shop.put_1_0()
    upgrade = ("upgrade", shop.name, "1.1", "--from", "1.0", "--waves", "1,100%", *QUICK)
    code, out, said = ended(hoist(*upgrade, "--watch"))
    assert code == 0, said
    assert out.splitlines()[-1] == "2 clients: 2 succeeded"
    for text in ("web-1 succeeded in", "wave 1 of 2 is over: 1 of 1 succeeded", "/runs/flow-run/"):
        assert text in said
    assert [shop.serving(client) for client in shop.clients] == ["1.1", "1.1"]
    [task] = shop.api.get("/tasks", project_id=shop.project)

    rows = json.loads(ended(hoist("installations", shop.name, "--version", "1.1", "--json"))[1])
    assert [(row["client_id"], row["previous_version"]) for row in rows] == [
        ("web-1", "1.0"),
        ("web-2", "1.0"),
    ]
    log = ended(hoist("log", task["id"], "web-1", "--follow"))[1]
    assert f"{shop.name} 1.1 listens on {shop.ports['web-1']}\n" in log

    def healthy():
        out = ended(hoist("processes", shop.name))[1]
        return out if out.count("healthy") == 2 and "unhealthy" not in out else None

    assert " app " in wait_until("healthy processes", healthy, timeout_s=60)

    code, out, said = ended(hoist("rollback", shop.name, *QUICK, "--waves", "100%", "--watch", "--json"))
    assert code == 0, said
    assert (json.loads(out)["operation"], json.loads(out)["success_count"]) == ("rollback", 2)
    assert [shop.serving(client) for client in shop.clients] == ["1.0", "1.0"]


def test_ctrl_c_detaches_and_the_upgrade_goes_on(fleet, hoist):
    shop = Shop(fleet, ("web-1", "web-2"))
    shop.put_1_0()
    for client in shop.clients:
        shop.behave(client, "slow")
    upgrade = hoist("upgrade", shop.name, "1.1", "--waves", "100%", *QUICK, "--watch", tty=True)
    shop.await_started(*shop.clients)
    upgrade.wait_for("at work: web-1, web-2")
    upgrade.process.send_signal(signal.SIGINT)
    code, _, said = ended(upgrade)
    [task] = shop.api.get("/tasks", project_id=shop.project)
    assert code == 5
    assert f"watch it again: hoist watch {task['id']}" in said
    code, out, said = ended(hoist("watch", task["id"]))
    assert (code, out.splitlines()[-1]) == (0, "2 clients: 2 succeeded"), said
    assert shop.runs("web-1") == ["install 1.0", "update 1.1"]


def test_failure_is_1_and_a_retry_mends_it(fleet, hoist):
    shop = Shop(fleet, ("web-1", "web-2"))
    shop.put_1_0()
    shop.behave("web-2", "fail")
    upgrade = ("upgrade", shop.name, "1.1", "--waves", "100%", "--keep-going", *QUICK)
    code, _, said = ended(hoist(*upgrade, "--watch"))
    [task] = shop.api.get("/tasks", project_id=shop.project)
    assert code == 1, said
    assert "web-2 failed in" in said
    assert f"try them again: hoist retry {task['id']}" in said
    shown = ended(hoist("status", task["id"]))[1]
    assert "2 clients: 1 succeeded, 1 failed" in shown
    shop.behave("web-2", "")
    code, out, said = ended(hoist("retry", task["id"], "--watch"))
    assert (code, out.splitlines()[-1]) == (0, "2 clients: 2 succeeded"), said
    assert shop.runs("web-1") == ["install 1.0", "update 1.1"]
    assert shop.serving("web-2") == "1.1"


def test_plan_start_and_cancel(fleet, hoist):
    shop = Shop(fleet, ("web-1", "web-2"))
    shop.put_1_0()
    shop.behave("web-1", "slow")
    plan = ("plan", shop.name, "1.1", "--waves", "1", *QUICK, "--json")
    task = json.loads(ended(hoist(*plan))[1])["id"]
    code, out, said = ended(hoist("start", task, "--json"))
    assert code == 0, said
    assert json.loads(out)["flow_run_url"] in said
    shop.await_started("web-1")
    assert ended(hoist("cancel", task))[0] == 0
    code, out, _ = ended(hoist("watch", task))
    assert (code, out.splitlines()[-1]) == (1, "2 clients: 1 succeeded, 1 skipped")
    assert shop.runs("web-2") == ["install 1.0"]

"""The ways to start an upgrade: the form of Prefect's UI, `create_flow_run` with a deploy task; and what a mistake says."""

from tests.e2e.shop import Shop, create_flow_run, flow_logs, flow_state


def test_form_upgrades_and_a_mistake_in_it_is_one_clear_line(fleet):
    shop = Shop(fleet, ("web-1", "web-2"))
    shop.put_1_0()
    wrong = create_flow_run(fleet, request={"project": shop.name, "version": "1.1", "waves": "0%"})
    form = {"project": shop.name, "version": "1.1", "operation": "update", "waves": "100%", "stable_for_s": 1}
    right = create_flow_run(fleet, request=form)

    assert flow_state(fleet, right, 120)["type"] == "COMPLETED"
    assert [shop.serving(client) for client in shop.clients] == ["1.1", "1.1"]
    [task] = shop.api.get("/tasks", project_id=shop.project)
    assert (task["status"], task["flow_run_id"]) == ("completed", right)
    assert fleet.flow_run(right)["name"] == f"{shop.name} 1.0 → 1.1 prod"

    state = flow_state(fleet, wrong)
    assert state["type"] == "FAILED"
    assert "waves" in state["message"]
    assert "\n" not in state["message"].strip()
    assert "Traceback" not in flow_logs(fleet, wrong, "waves")


def test_create_flow_run_starts_a_deploy_task(fleet):
    shop = Shop(fleet, ("web-1",))
    shop.put_1_0()
    task_id = shop.create()
    flow_run_id = create_flow_run(fleet, deploy_task_id=task_id)
    task = shop.ended(task_id)
    assert (task["status"], task["flow_run_id"]) == ("completed", flow_run_id)
    assert shop.serving("web-1") == "1.1"

import pytest

from db.models import Version
from tasks.planning import create_deploy_task
from tests.builders import NOW, create_fleet, create_project, upgrade_request
from tests.served_api import assert_problem

RULES = {"rules": [{"type": "name", "pattern": "shop", "name": "shop"}]}
BODY = {"project_id": "shop", "version": "1.5", "work_dir": "/srv/shop", "process_config": RULES}


@pytest.fixture
def project(served):
    with served.database.write() as session:
        return create_project(session)


def test_created_version_answers_with_every_default(operator, project):
    answer = operator.post("/release/versions", json=BODY)
    assert answer.status_code == 201, answer.text
    version = answer.json()
    assert version["project_id"] == project.id
    assert version["status"] == "draft"
    assert version["timeout_s"] == 900
    assert version["interpreter"] == "/bin/bash"
    assert version["process_config"]["collect_interval"] == 60
    assert version["evidence"]["source"] == "processes"
    assert version["env"] == {}
    assert operator.get(f"/release/versions/{version['id']}").json() == version
    assert_problem(operator.post("/release/versions", json=BODY), 409)


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"work_dir": None}, "work_dir"),
        ({"work_dir": "srv/shop"}, "work_dir"),
        ({"work_dir": "/srv/../etc"}, "work_dir"),
        ({"version": "1 5"}, "version"),
        ({"timeout_s": 0}, "timeout_s"),
        ({"timeout_s": 10**40}, "timeout_s"),
        ({"status": "live"}, "status"),
        ({"env": {"1A": "x"}}, "env"),
        ({"run_as": "Root User"}, "run_as"),
        ({"detach_method": "screen"}, "detach_method"),
        ({"install_script": "echo \u0000"}, "install_script"),
        ({"install_script": "x" * (512 * 1024 + 1)}, "install_script"),
        ({"deploy_config": {"image": "shop"}}, "deploy_config"),
        ({"process_config": {}}, "evidence"),
        (
            {"process_config": {}, "evidence": {"version_probe": {"type": "command", "command": "x"}}},
            "evidence",
        ),
        ({"process_config": {"rules": [RULES["rules"][0]] * 2}}, "process_config.rules"),
        (
            {"process_config": {"rules": [{"type": "port", "pattern": "0", "name": "p"}]}},
            "process_config.rules.0",
        ),
        ({"evidence": {"checks": [{"type": "tcp"}]}}, "evidence.checks.0"),
    ],
)
def test_invalid_version_is_refused(operator, project, fields, field):
    problem = assert_problem(operator.post("/release/versions", json={**BODY, **fields}), 422)
    assert any(error["field"].startswith(field) for error in problem["errors"]), problem
    assert operator.get("/release/projects/shop/versions").json() == []


def test_a_check_or_the_exit_code_is_enough_evidence(operator, project):
    check = {"checks": [{"type": "tcp", "port": 80}]}
    for name, evidence in (("1", check), ("2", {"source": "exit_code"})):
        body = {**BODY, "version": name, "process_config": {}, "evidence": evidence}
        assert operator.post("/release/versions", json=body).status_code == 201


def test_what_the_exit_code_leaves_unasked_is_refused(operator, project):
    evidence = {
        "source": "exit_code",
        "checks": [{"type": "tcp", "port": 80}],
        "version_probe": {"type": "command", "command": "app --version"},
    }
    for field in ("checks", "version_probe"):
        body = {**BODY, "evidence": {name: evidence[name] for name in ("source", field)}}
        assert_problem(operator.post("/release/versions", json=body), 422, field=f"evidence.{field}")


def test_unknown_project_is_404(operator, project):
    assert_problem(operator.post("/release/versions", json={**BODY, "project_id": "nope"}), 404)


def test_versions_are_filtered_by_status(operator, project):
    for name, status in (("1", "active"), ("2", "draft"), ("3", "active")):
        operator.post("/release/versions", json={**BODY, "version": name, "status": status})
    listed = operator.get("/release/projects/shop/versions?status=active").json()
    assert [one["version"] for one in listed] == ["1", "3"]
    assert_problem(operator.get("/release/projects/shop/versions?status=x"), 422, field="status")


def test_scripts_change_until_a_deploy_task_used_them(operator, served):
    with served.database.write() as session:
        project, _ = create_fleet(session, {"web-01": "1.4"})
        version = session.query(Version).filter_by(version="1.5").one()
    address = f"/release/versions/{version.id}"
    changed = operator.patch(address, json={"update_script": "echo other"})
    assert changed.json()["update_script"] == "echo other"
    with served.database.write() as session:
        create_deploy_task(session, upgrade_request(project), now=NOW, who="x")
    assert_problem(
        operator.patch(address, json={"update_script": "echo third"}), 409, mentions="update_script"
    )
    assert operator.patch(address, json={"update_script": "echo other"}).status_code == 200
    assert operator.patch(address, json={"status": "deprecated"}).json()["status"] == "deprecated"


def test_patch_cannot_take_the_evidence_away(operator, project):
    version = operator.post("/release/versions", json=BODY).json()
    answer = operator.patch(f"/release/versions/{version['id']}", json={"process_config": {}})
    assert_problem(answer, 422, field="evidence")
    assert operator.get(f"/release/versions/{version['id']}").json()["process_config"]["rules"]
    answer = operator.patch(f"/release/versions/{version['id']}", json={"timeout_s": None})
    assert_problem(answer, 422, field="timeout_s")

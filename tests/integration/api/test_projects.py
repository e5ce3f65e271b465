import pytest

from tests.builders import create_fleet
from tests.served_api import assert_problem

PROJECTS = "/release/projects"
ENVIRONMENTS = f"{PROJECTS}/shop/environments"


def make(operator, name="shop", **fields):
    answer = operator.post("/release/projects", json={"name": name, "type": "script", **fields})
    assert answer.status_code == 201, answer.text
    return answer.json()


def test_created_project_answers_with_every_field(operator):
    project = make(operator, description="a shop")
    assert project["name"] == "shop"
    assert project["description"] == "a shop"
    assert project["default_strategy"] is None
    assert project["container_naming"] is None
    assert project["id"]
    assert project["created_at"].endswith("Z")
    assert operator.get("/release/projects/shop").json() == project
    assert operator.get(f"/release/projects/{project['id']}").json() == project
    assert operator.get(f"/release/projects/{project['id'].upper()}").json() == project


def test_taken_name_is_409(operator):
    make(operator)
    assert_problem(operator.post("/release/projects", json={"name": "shop", "type": "script"}), 409)


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"name": ""}, "name"),
        ({"name": "x" * 101}, "name"),
        ({"name": "0198c0de-0000-7000-8000-000000000000"}, "name"),
        ({"name": "a/b"}, "name"),
        ({"name": 5}, "name"),
        ({"type": "vm"}, "type"),
        ({"kubernetes_config": {}}, "kubernetes_config"),
        ({"type": "kubernetes", "kubernetes_config": {"namespace": "Not A"}}, "kubernetes_config.namespace"),
        ({"type": "kubernetes", "kubernetes_config": {"image": "shop:1"}}, "kubernetes_config.image"),
        ({"type": "kubernetes", "kubernetes_config": {"match_labels": {"a b": "c"}}}, "kubernetes_config"),
        ({"type": "kubernetes", "container_naming": {"prefix": "Shop"}}, "container_naming.prefix"),
        ({"type": "kubernetes", "container_naming": {"prefix": "s_p"}}, "container_naming.prefix"),
        (
            {"type": "kubernetes", "container_naming": {"prefix": "shop", "separator": "_"}},
            "container_naming.separator",
        ),
        (
            {"type": "kubernetes", "container_naming": {"prefix": "shop", "include_ver": True}},
            "container_naming.include_ver",
        ),
        (
            {"type": "kubernetes", "container_naming": {"prefix": "shop", "template": "${PREFIX}-${INDEX}"}},
            "container_naming.template",
        ),
        ({"colour": "red"}, "colour"),
        ({"description": "x" * 2001}, "description"),
        ({"default_strategy": {"waves": []}}, "default_strategy.waves"),
        ({"default_strategy": {"waves": ["101%"]}}, "default_strategy.waves.0"),
        ({"default_strategy": {"canary_percent": 500}}, "default_strategy.canary_percent"),
        ({"default_strategy": {"max_parallel": 10**30}}, "default_strategy.max_parallel"),
    ],
)
def test_invalid_field_is_named_and_nothing_is_stored(operator, fields, field):
    answer = operator.post("/release/projects", json={"name": "shop", "type": "script", **fields})
    problem = assert_problem(answer, 422)
    assert any(error["field"].startswith(field) for error in problem["errors"]), problem
    assert operator.get("/release/projects").json() == []


def test_missing_fields_are_named(operator):
    problem = assert_problem(operator.post("/release/projects", json={}), 422)
    assert {error["field"] for error in problem["errors"]} == {"name", "type"}


def test_patch_changes_only_what_is_sent(operator):
    make(operator, description="a shop", default_strategy={"waves": [1]})
    changed = operator.patch("/release/projects/shop", json={"description": None})
    assert changed.status_code == 200
    assert changed.json()["description"] is None
    assert changed.json()["default_strategy"]["waves"] == [1]
    renamed = operator.patch("/release/projects/shop", json={"name": "store"}).json()
    assert renamed["name"] == "store"
    assert operator.get("/release/projects/shop").status_code == 404
    assert_problem(operator.patch("/release/projects/store", json={"name": None}), 422, field="name")
    assert_problem(operator.patch("/release/projects/store", json={"type": "script"}), 422, field="type")


def test_patch_to_a_taken_name_is_409(operator):
    make(operator)
    make(operator, "store")
    assert_problem(operator.patch("/release/projects/store", json={"name": "shop"}), 409)
    assert operator.patch("/release/projects/store", json={"name": "store"}).status_code == 200


def test_delete_is_refused_naming_what_refers_to_it(operator, served):
    make(operator, "empty")
    assert operator.delete("/release/projects/empty").status_code == 204
    assert_problem(operator.get("/release/projects/empty"), 404)
    with served.database.write() as session:
        create_fleet(session, {"web-01": "1.4"})
    detail = assert_problem(operator.delete("/release/projects/shop"), 409)["detail"]
    for what in ("1 installations", "1 targets", "2 versions", "1 environments"):
        assert what in detail


def test_list_is_a_bare_array_in_pages(operator):
    names = [f"p{number}" for number in range(5)]
    for name in names:
        make(operator, name)
    seen, url, pages = [], "/release/projects?limit=2", 0
    while url:
        answer = operator.get(url)
        seen += [project["name"] for project in answer.json()]
        url = answer.links.get("next", {}).get("url")
        pages += 1
    assert sorted(seen) == names
    assert pages == 3


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=1001", "limit=x", "cursor=!", "cursor=YQ", "cursor=AAAA"]
)
def test_bad_page_is_422(operator, query):
    assert_problem(operator.get(f"/release/projects?{query}"), 422)


def test_environments_belong_to_a_project(operator):
    project = make(operator)
    created = operator.post(ENVIRONMENTS, json={"name": "prod"})
    assert created.status_code == 201
    assert created.json()["project_id"] == project["id"]
    assert created.json()["require_approval"] is False
    assert created.json()["release_window"] is None
    assert_problem(operator.post(ENVIRONMENTS, json={"name": "prod"}), 409)
    assert [one["name"] for one in operator.get(ENVIRONMENTS).json()] == ["prod"]
    assert_problem(operator.get("/release/projects/nope/environments"), 404)


WINDOW = {"timezone": "Europe/Berlin", "allowed_days": [1, 5], "start_time": "22:00", "end_time": "02:00"}


def test_environment_has_a_release_window_and_asks_for_approval(operator):
    make(operator)
    answer = operator.post(
        ENVIRONMENTS, json={"name": "prod", "require_approval": True, "release_window": WINDOW}
    )
    assert answer.status_code == 201, answer.text
    made = answer.json()
    assert made["require_approval"] is True
    assert made["release_window"] == {"enabled": True, **WINDOW}
    address = f"{ENVIRONMENTS}/{made['id']}"
    changed = operator.patch(address, json={"release_window": None}).json()
    assert (changed["require_approval"], changed["release_window"]) == (True, None)
    assert operator.patch(address, json={"require_approval": False}).json()["require_approval"] is False
    assert_problem(operator.patch(address, json={"name": "other"}), 422)
    assert operator.get("/release/audit").json()[0]["action"] == "environment.change"


def test_star_is_no_environment_s_name(operator):
    make(operator)
    assert_problem(operator.post(ENVIRONMENTS, json={"name": "*"}), 422, mentions="all environments")


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"timezone": "Mars/Olympus"}, "timezone"),
        ({"timezone": "../etc/passwd"}, "timezone"),
        ({"allowed_days": []}, "allowed_days"),
        ({"allowed_days": [0]}, "allowed_days"),
        ({"allowed_days": [1, 1]}, "release_window"),
        ({"start_time": "25:00"}, "start_time"),
        ({"end_time": "7:00"}, "end_time"),
        ({"holidays": []}, "holidays"),
    ],
)
def test_invalid_window_is_refused(operator, changed, field):
    make(operator)
    answer = operator.post(ENVIRONMENTS, json={"name": "prod", "release_window": {**WINDOW, **changed}})
    problem = assert_problem(answer, 422)
    assert any(field in error["field"] for error in problem["errors"]), problem
    assert operator.get(ENVIRONMENTS).json() == []


def test_kubernetes_project_has_its_configuration_and_gets_defaults(operator):
    plain = operator.post(PROJECTS, json={"name": "Plain One", "type": "kubernetes"})
    assert plain.status_code == 201, plain.text
    assert plain.json()["container_naming"]["prefix"] == "plain-one"
    assert plain.json()["kubernetes_config"]["namespace"] == "default"
    config = {"namespace": "shop", "deployment": "web", "container": "app", "replicas": 3}
    config |= {
        "progress_deadline_s": 60,
        "match_labels": {"app.kubernetes.io/name": "shop"},
        "alert_for_s": 60,
    }
    answer = operator.post(PROJECTS, json={"name": "shop", "type": "kubernetes", "kubernetes_config": config})
    assert answer.status_code == 201, answer.text
    assert answer.json()["kubernetes_config"] == {**config, "alert_on_failure": True}
    changed = operator.patch(f"{PROJECTS}/shop", json={"kubernetes_config": {"deployment": "api"}})
    assert changed.json()["kubernetes_config"]["deployment"] == "api"
    emptied = operator.patch(f"{PROJECTS}/shop", json={"kubernetes_config": None})
    assert emptied.json()["kubernetes_config"] == plain.json()["kubernetes_config"]
    refused = operator.patch(f"{PROJECTS}/shop", json={"container_naming": {"prefix": "Sh_op"}})
    assert_problem(refused, 422, field="container_naming.prefix")


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"deploy_config": None}, "deploy_config"),
        ({"deploy_config": {"image": "shop:1", "env": {"A": "b"}}}, "deploy_config.env"),
        ({"deploy_config": {"image": "shop:1", "registry": "secret"}}, "deploy_config.registry"),
        ({"work_dir": "/srv"}, "work_dir"),
        ({"env": {"A": "b"}}, "env"),
        ({"evidence": {"source": "exit_code"}}, "evidence.source"),
        (
            {"process_config": {"rules": [{"type": "name", "pattern": "a", "name": "a"}]}},
            "process_config.rules",
        ),
    ],
)
def test_version_of_a_kubernetes_project_is_an_image(operator, fields, field):
    operator.post(PROJECTS, json={"name": "shop", "type": "kubernetes"})
    body = {"project_id": "shop", "version": "1", "deploy_config": {"image": "shop:1"}}
    assert_problem(operator.post("/release/versions", json={**body, **fields}), 422, field=field)
    made = operator.post("/release/versions", json={**body, "process_config": {"collect_interval": 30}})
    assert made.status_code == 201, made.text
    assert made.json()["deploy_config"]["image"] == "shop:1"
    again = operator.patch(f"/release/versions/{made.json()['id']}", json={"status": "active"})
    assert again.status_code == 200, again.text

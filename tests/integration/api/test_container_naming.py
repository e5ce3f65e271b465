"""How projects name their containers, over HTTP on both databases."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.served_api import assert_problem

PROJECTS = "/release/projects"
DEFAULTS = {
    "separator": "-",
    "include_env": True,
    "include_ver": False,
    "max_length": 63,
    "template": None,
}


def ask(operator, name="shop", kind="container", **fields):
    return operator.post(PROJECTS, json={"name": name, "type": kind, **fields})


def make(operator, name="shop", kind="container", **fields):
    answer = ask(operator, name, kind, **fields)
    assert answer.status_code == 201, answer.text
    return answer.json()


def change(operator, naming, name="shop"):
    return operator.patch(f"{PROJECTS}/{name}", json={"container_naming": naming})


def test_given_naming_is_answered_with_every_default(operator):
    project = make(operator, container_naming={"prefix": "store", "template": "${PREFIX}-${ENV}"})
    wanted = {**DEFAULTS, "prefix": "store", "template": "${PREFIX}-${ENV}"}
    assert project["container_naming"] == wanted
    assert operator.get(f"{PROJECTS}/shop").json() == project
    assert operator.get(PROJECTS).json() == [project]


@pytest.mark.parametrize(
    ("name", "prefix"),
    [
        ("shop", "shop"),
        ("Shop (EU)", "shop-eu"),
        ("  x".strip(), "x"),
        ("my_app.v2", "my-app-v2"),
        ("Büro 2", "b-ro-2"),
        ("a" * 39 + " bc", "a" * 39),
        ("--shop--", "shop"),
    ],
)
def test_container_project_without_one_gets_a_prefix_made_of_its_name(operator, name, prefix):
    assert make(operator, name)["container_naming"] == {**DEFAULTS, "prefix": prefix}


def test_name_that_gives_no_prefix_asks_for_one(operator):
    problem = assert_problem(ask(operator, "商店"), 422, field="container_naming")
    assert "is needed" in problem["detail"]
    assert operator.get(PROJECTS).json() == []
    make(operator, "商店", container_naming={"prefix": "shop"})


def test_name_that_gives_another_projects_prefix_asks_for_one(operator):
    make(operator, "shop")
    problem = assert_problem(ask(operator, "Shop"), 422, field="container_naming", mentions="project shop's")
    assert "is needed" in problem["detail"]
    make(operator, "Shop", container_naming={"prefix": "shop2"})


def test_script_project_has_none_unless_it_is_given(operator):
    assert make(operator, "plain", "script")["container_naming"] is None
    assert make(operator, "plainer", "script")["container_naming"] is None
    named = make(operator, "compose", "script", container_naming={"prefix": "compose"})
    assert named["container_naming"]["prefix"] == "compose"
    assert change(operator, None, "compose").json()["container_naming"] is None
    make(operator, "other", container_naming={"prefix": "compose"})


def test_prefix_of_another_project_is_refused_naming_it(operator):
    make(operator)
    make(operator, "store")
    taken = ask(operator, "third", container_naming={"prefix": "shop", "separator": "."})
    assert_problem(taken, 409, field="container_naming.prefix", mentions="project shop's")
    assert_problem(change(operator, {"prefix": "shop"}, "store"), 409, mentions="project shop's")
    assert [one["name"] for one in operator.get(PROJECTS).json()] == ["shop", "store"]
    assert operator.get(f"{PROJECTS}/store").json()["container_naming"]["prefix"] == "store"
    assert change(operator, {"prefix": "shop", "max_length": 40}).status_code == 200


def test_prefixes_may_overlap(operator):
    for prefix in ("shop", "shop-api", "shop2", "Shop"):
        make(operator, f"project {prefix}", container_naming={"prefix": prefix})


def test_prefix_is_free_again_when_its_project_changes_it_or_goes(operator):
    make(operator)
    assert change(operator, {"prefix": "store"}).status_code == 200
    make(operator, "second", container_naming={"prefix": "shop"})
    assert operator.delete(f"{PROJECTS}/second").status_code == 204
    make(operator, "third", container_naming={"prefix": "shop"})


def test_renaming_a_project_keeps_its_prefix(operator):
    make(operator)
    renamed = operator.patch(f"{PROJECTS}/shop", json={"name": "store"}).json()
    assert renamed["container_naming"]["prefix"] == "shop"
    make(operator, "shop", container_naming={"prefix": "other"})


def test_emptied_naming_of_a_container_project_is_the_default_again(operator):
    make(operator, container_naming={"prefix": "store", "include_ver": True})
    assert change(operator, None).json()["container_naming"] == {**DEFAULTS, "prefix": "shop"}


@pytest.mark.parametrize("kind", ["script", "container"])
@pytest.mark.parametrize(
    ("naming", "field"),
    [
        ({}, "prefix"),
        ({"prefix": ""}, "prefix"),
        ({"prefix": None}, "prefix"),
        ({"prefix": "-hidden"}, "prefix"),
        ({"prefix": "hidden-"}, "prefix"),
        ({"prefix": "hid\u0000den"}, "prefix"),
        ({"prefix": "x", "template": "${HIDDEN}"}, "template"),
        ({"prefix": "x", "template": "${PREFIX}-${HIDDEN}"}, "template"),
        ({"prefix": "x", "template": "hidden"}, "template"),
        ({"prefix": "x", "template": "${PREFIX}"}, "prefix"),
        ({"prefix": "hidden", "max_length": 5}, "max_length"),
        ({"prefix": "x" * 99}, "max_length"),
        ({"prefix": "x", "max_length": 10**30}, "max_length"),
        ({"prefix": "x", "separator": "hidden"}, "separator"),
        ({"prefix": "x", "hidden": 1}, "hidden"),
    ],
)
def test_what_gives_no_legal_name_is_refused_when_it_is_saved(operator, kind, naming, field):
    answers = [ask(operator, kind=kind, container_naming=naming)]
    assert operator.get(PROJECTS).json() == []
    before = make(operator, "shop", kind)
    answers.append(change(operator, naming))
    assert operator.get(f"{PROJECTS}/shop").json() == before
    for answer in answers:
        problem = assert_problem(answer, 422, field=f"container_naming.{field}")
        if field != "hidden":
            assert "hidden" not in answer.text.lower(), problem


def test_every_bad_field_is_named(operator):
    bad = {"prefix": "shop-", "template": "${PREFIX}x", "max_length": 3}
    problem = assert_problem(ask(operator, container_naming=bad), 422)
    named = {error["field"] for error in problem["errors"]}
    assert named == {f"container_naming.{field}" for field in bad}


def test_kubernetes_config_is_a_kubernetes_project_s_alone(operator):
    assert_problem(ask(operator, kubernetes_config={}), 422, field="kubernetes_config")
    assert ask(operator, kind="kubernetes", kubernetes_config={}).status_code == 201


def test_one_prefix_asked_for_at_the_same_moment_is_given_once(operator, served):
    make(operator, "patched", container_naming={"prefix": "patched"})
    together = threading.Barrier(6)
    clients = [served.operator for _ in range(6)]

    def race(number):
        together.wait(timeout=30)
        if number == 0:
            return change(clients[number], {"prefix": "shop"}, "patched")
        return ask(clients[number], f"shop {number}", container_naming={"prefix": "shop"})

    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(race, range(6)))
    refused = [answer for answer in answers if answer.status_code not in (200, 201)]
    assert len(refused) == 5
    for answer in refused:
        assert_problem(answer, 409)
    prefixes = [one["container_naming"]["prefix"] for one in operator.get(PROJECTS).json()]
    assert prefixes.count("shop") == 1


def test_change_is_in_the_audit_trail(operator):
    make(operator)
    change(operator, {"prefix": "store"})
    newest = operator.get("/release/audit").json()[0]
    assert (newest["action"], newest["detail"]) == ("project.change", {"fields": ["container_naming"]})

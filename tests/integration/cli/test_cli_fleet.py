"""What a fleet is made of, by the command line alone: environments, clients, targets, versions, installations."""

import json

import pytest

from tests.builders import create_fleet


@pytest.fixture
def shop(hoist):
    hoist("project", "create", "shop", "--type", "script")
    hoist("environment", "create", "shop", "prod")
    hoist("client", "create", "web-1", "http://127.0.0.1:4220", "--label", "rack=r1")


def test_environments(hoist, operator, shop):
    hoist("environment", "create", "shop", "staging", "--description", "for trying")
    (prod, staging) = operator.get("/release/projects/shop/environments").json()
    assert hoist("environment", "list", "shop").lines[1:] == [
        ["prod", "–", prod["id"]],
        ["staging", "for trying", staging["id"]],
    ]
    assert (
        "cannot find environment 'nope': project shop has prod, staging"
        in hoist("environment", "delete", "shop", "nope", "--yes", code=3).err
    )
    hoist("environment", "delete", "shop", "staging", "--yes")
    assert len(operator.get("/release/projects/shop/environments").json()) == 1
    assert "taken" in hoist("environment", "create", "shop", "prod", code=3).err


def test_client_gets_a_report_token_and_its_own_is_read_from_a_file(hoist, operator, tmp_path):
    (tmp_path / "token").write_text("token-of-the-agent\n")
    made = hoist("client", "create", "web-1", "http://127.0.0.1:4220", "--token-file", tmp_path / "token")
    name, _, token = made.out.splitlines()[1].partition("=")
    assert name == "HOIST_AGENT_API_TOKEN"
    assert len(token) > 20
    assert operator.get("/release/clients/web-1").json()["has_token"] is True
    assert hoist("client", "rotate", "web-1", "--overlap", "0", "--json").json["report_token"] != token
    assert "url: must be https" in hoist("client", "create", "web-2", "http://web-2:4220", code=3).err
    assert "not NAME=VALUE" in hoist("client", "create", "w", "http://x", "--label", "rack", code=2).err


def test_client_is_held_let_go_changed_and_deleted(hoist, operator, shop):
    held = hoist("client", "hold", "web-1", "its disk is full", "--until", "2130-01-01T00:00:00Z")
    assert held.out == "client web-1 is held: its disk is full, until 2130-01-01T00:00:00Z\n"
    assert "its disk is full" in hoist("client", "list").out
    hoist("client", "let-go", "web-1")
    assert operator.get("/release/clients/web-1").json()["held"] is None
    hoist("client", "change", "web-1", "--label", "rack=r2", "--label", "zone=a")
    assert "rack=r2, zone=a" in hoist("client", "show", "web-1").out
    hoist("client", "delete", "web-1", code=2)
    hoist("client", "delete", "web-1", "--yes")
    assert hoist("client", "list", "--json").json == []


def test_targets(hoist, operator, shop):
    hoist("client", "create", "web-2", "http://127.0.0.1:4221")
    added = hoist("target", "add", "shop", "web-1", "web-2", "--priority", "5", "--label", "half=a")
    assert added.out.splitlines() == [
        "client web-1 is a target of shop in prod",
        "client web-2 is a target of shop in prod",
    ]
    hoist("environment", "create", "shop", "staging")
    hoist("client", "create", "web-3", "http://127.0.0.1:4222")
    assert "prod, staging" in hoist("target", "add", "shop", "web-3", code=2).err
    hoist("target", "add", "shop", "web-3", "--environment", "staging")
    assert (
        "it is target 'web-1'"
        in hoist("target", "add", "shop", "web-1", "--environment", "staging", code=3).err
    )
    listed = hoist("target", "list", "shop", "--json").json
    seen = [(row["client_id"], row["environment"], row["priority"], row["labels"]) for row in listed]
    assert seen == [
        ("web-1", "prod", 5, {"half": "a"}),
        ("web-2", "prod", 5, {"half": "a"}),
        ("web-3", "staging", 0, {}),
    ]
    assert [row[0] for row in hoist("target", "list", "shop", "--environment", "staging").lines[1:]] == [
        "web-3"
    ]
    hoist("target", "remove", "shop", "web-2", "--yes")
    assert "no target of project shop" in hoist("target", "remove", "shop", "web-2", "--yes", code=3).err


def test_version_of_scripts(hoist, operator, shop, tmp_path):
    (tmp_path / "deploy.sh").write_text("echo deploy\n")
    (tmp_path / "back.sh").write_text("echo back\n")
    create = (
        "version",
        "create",
        "shop",
        "1.0",
        "--script",
        tmp_path / "deploy.sh",
        "--work-dir",
        "/srv/shop",
    )
    assert "nothing would be proven" in hoist(*create, code=3).err
    options = ("--rule", "web=port:8080", "--rollback-script", tmp_path / "back.sh", "--env", "A=b=c")
    made = hoist(*create, *options, "--json").json
    assert (made["install_script"], made["update_script"]) == ("echo deploy\n", "echo deploy\n")
    assert (made["rollback_script"], made["env"], made["status"]) == ("echo back\n", {"A": "b=c"}, "draft")
    assert made["process_config"]["rules"] == [{"type": "port", "pattern": "8080", "name": "web"}]
    changed = hoist("version", "change", "shop", "1.0", "--status", "active")
    assert changed.out == "version 1.0 of shop is changed: active\n"
    (row,) = hoist("version", "list", "shop", "--status", "active").lines[1:]
    assert row[:4] == ["1.0", "active", "scripts: install, update, rollback", "web=port:8080"]
    assert "/srv/shop" in hoist("version", "show", "shop", "1.0").out
    assert "no version '9'" in hoist("version", "show", "shop", "9", code=3).err
    assert "cannot read" in hoist("version", "create", "shop", "2", "--script", tmp_path / "no", code=2).err
    assert "NAME=TYPE:PATTERN" in hoist("version", "create", "shop", "2", "--rule", "web", code=2).err


def test_version_of_a_container(hoist, tmp_path):
    hoist("project", "create", "box", "--type", "container")
    document = json.dumps({"deploy_config": {"image": "other:1", "pull": "never"}, "status": "active"})
    hoist("version", "create", "box", "1.0", "--image", "box:1.0", "--file", "-", stdin=document)
    shown = hoist("version", "show", "box", "1.0", "--json").json
    assert (shown["deploy_config"]["image"], shown["deploy_config"]["pull"]) == ("box:1.0", "never")
    assert "container box:1.0" in hoist("version", "list", "box").out


def test_installations_are_adopted_listed_and_filtered(hoist, served):
    with served.database.write() as session:
        create_fleet(session, {"web-1": "1.4", "web-2": "1.5", "web-3": None})
    adopted = hoist("adopt", "shop", "0.9", "web-3", "--installed-at", "2020-01-02T03:04:05Z")
    assert adopted.out == "client web-3 has shop 0.9\n"
    rows = hoist("installations", "shop").lines[1:]
    assert [row[:4] for row in rows] == [
        ["web-1", "prod", "1.4", "installed"],
        ["web-2", "prod", "1.5", "installed"],
        ["web-3", "prod", "0.9", "installed"],
    ]
    assert rows[2][6] == "2020-01-02 03:04:05Z"
    only = hoist("installations", "shop", "--version", "1.5", "--environment", "prod", "--json").json
    assert [row["client_id"] for row in only] == ["web-2"]
    assert (
        hoist("installations", "shop", "--status", "failed").out == "nobody has shop, or nobody like that\n"
    )
    assert "no target" in hoist("adopt", "shop", "1.0", "web-1", "web-9", code=3).err
    assert hoist("installations", "shop", "--version", "1.0", "--json").json == []

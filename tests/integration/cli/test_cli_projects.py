"""`hoist project`, `environment`, and what every command does with pages, problems and `--json`."""

import json


def test_project_is_created_shown_changed_and_deleted(hoist, operator):
    made = hoist("project", "create", "shop", "--type", "script", "--description", "sells things")
    stored = operator.get("/release/projects/shop").json()
    assert made.out == f"project shop is there: {stored['id']}\n"
    assert (stored["type"], stored["description"]) == ("script", "sells things")

    listed = hoist("project", "list")
    assert listed.lines[0] == ["project", "type", "description", "id"]
    assert listed.lines[1] == ["shop", "script", "sells things", stored["id"]]

    hoist("project", "change", "shop", "--name", "store")
    assert "sells things" in hoist("project", "show", "store").out
    assert hoist("project", "show", stored["id"], "--json").json["name"] == "store"

    hoist("project", "delete", "store", code=2)
    assert hoist("project", "delete", "store", "--yes").out == "project store is deleted\n"
    assert operator.get("/release/projects").json() == []


def test_json_is_what_the_api_answers(hoist, operator):
    made = hoist("project", "create", "shop", "--type", "script", "--json").json
    assert made == operator.get("/release/projects/shop").json()
    assert hoist("project", "list", "--json").json == operator.get("/release/projects").json()


def test_document_brings_every_field_and_options_win(hoist, operator, tmp_path):
    file = tmp_path / "project.json"
    naming = {"prefix": "shp", "include_env": False}
    file.write_text(
        json.dumps({"type": "container", "description": "of the file", "container_naming": naming})
    )
    hoist("project", "create", "shop", "--file", file, "--description", "of the option")
    stored = operator.get("/release/projects/shop").json()
    assert (stored["type"], stored["description"]) == ("container", "of the option")
    assert stored["container_naming"]["prefix"] == "shp"
    hoist("project", "change", "shop", "--file", "-", stdin='{"description": null}')
    assert operator.get("/release/projects/shop").json()["description"] is None


def test_empty_list_says_what_to_do(hoist):
    assert hoist("project", "list").out == "no project yet: hoist project create\n"
    assert hoist("project", "list", "--json").json == []


def test_pages_are_followed_to_the_end(hoist, operator, monkeypatch):
    names = [f"project-{number:02}" for number in range(7)]
    for name in names:
        operator.post("/release/projects", json={"name": name, "type": "script"}).raise_for_status()
    monkeypatch.setattr("api.cli.release_api.PAGE", 3)
    assert [row["name"] for row in hoist("project", "list", "--json").json] == names


def test_refusal_is_one_line_and_the_fields(hoist):
    ended = hoist("project", "create", "shop", code=3)
    assert ended.out == ""
    assert ended.err.startswith("hoist: cannot accept the request: type: ")
    assert "(422)" in ended.err.splitlines()[0]
    hoist("project", "create", "shop", "--type", "script")
    assert "taken" in hoist("project", "create", "shop", "--type", "script", code=3).err
    assert "(404)" in hoist("project", "show", "nope", code=3).err


def test_wrong_usage_is_2(hoist, tmp_path):
    assert "No such command" in hoist("projects", code=2).err
    assert "Missing argument" in hoist("project", "show", code=2).err
    assert "kubernete" in hoist("project", "create", "x", "--type", "kubernete", code=2).err
    assert "is not JSON" in hoist("project", "create", "x", "--file", "-", code=2, stdin="{").err
    assert "is not a JSON object" in hoist("project", "create", "x", "--file", "-", code=2, stdin="[]").err
    assert "No such file" in hoist("project", "create", "x", "--file", tmp_path / "none", code=2).err
    assert "dots alone" in hoist("project", "delete", "..", "--yes", code=2).err


def test_name_with_anything_in_it_is_one_part_of_the_address(hoist, operator):
    operator.post("/release/projects", json={"name": "a b?c#d%2e&e", "type": "script"}).raise_for_status()
    assert hoist("project", "show", "a b?c#d%2e&e", "--json").json["name"] == "a b?c#d%2e&e"
    assert "(404)" in hoist("project", "show", "../projects", code=3).err

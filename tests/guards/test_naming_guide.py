"""The container-naming guide says what is really so: its tables are executed."""

import json
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pydantic import ValidationError

from agent.naming import Claim, make_name, owner_of
from agent.wire.naming import VARIABLES, ContainerNaming
from api.naming import LONGEST_DEFAULT

GUIDE = Path(__file__).resolve().parents[2] / "docs/how-to/container-naming.md"
AT = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)
CLAIMS = (Claim("shop", "shop"), Claim("shop-api", "shop-api"), Claim("store", "store", "_"))


def rows_of(heading):
    """The cells of the section's tables, without their heads and backquotes."""
    section = re.split(rf"^## {heading}\n", GUIDE.read_text(), flags=re.MULTILINE)[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip().strip("`") for cell in line.strip("|").split(" | ")] for line in lines[2:]]


def name_of(naming, environment="prod", version="1.5", taken=()):
    made = ContainerNaming.model_validate_json(naming)
    return make_name(made, environment=environment, version=version, at=AT, taken=taken)


def rows_are_read(heading, least):
    rows = rows_of(heading)
    assert len(rows) >= least
    return rows


def test_shapes():
    for naming, name in rows_are_read("Shapes", 8):
        assert name_of(naming) == name


def test_every_variable_is_explained():
    named = {found for row in rows_are_read("Templates", 6) for found in re.findall(r"\$\{(\w+)\}", row[0])}
    assert named == set(VARIABLES)
    assert name_of('{"prefix": "shop"}', environment="EU west") == "shop-EU-west-1"
    assert "`EU west` gives `shop-EU-west-1`" in GUIDE.read_text()


def test_names_that_are_taken():
    for naming, there, name in rows_are_read("Unique on its host", 4):
        assert name_of(naming, taken=there.split()) == name


def test_names_that_are_too_long():
    for naming, name in rows_are_read("Too long", 3):
        assert name_of(naming, "production", "1.5.0-rc.1") == name


def test_whose_container_it_is():
    for name, whose in rows_are_read("Whose container it is", 7):
        owner = owner_of(name, CLAIMS)
        assert (owner.project_id if owner else "nobody") == whose, name
    assert owner_of("shop-canary-prod-1", CLAIMS) == CLAIMS[0]


@pytest.mark.parametrize("row", rows_of("What is refused"), ids=lambda row: row[0])
def test_what_is_refused(row):
    naming, field, why = row
    with pytest.raises(ValidationError) as caught:
        ContainerNaming.model_validate_json(naming)
    assert [(one["loc"], why in one["msg"]) for one in caught.value.errors()] == [((field,), True)]


def test_defaults():
    text = GUIDE.read_text().split("\n## ")[0]
    fields = dict(re.findall(r"^\| `(\w+)` \| `?([^|`]*)`? \|", text, re.MULTILINE))
    said = {name: value.strip() for name, value in fields.items()}
    made = json.loads(ContainerNaming(prefix="x").model_dump_json())
    assert said.keys() == made.keys()
    shown = {
        "separator": "-",
        "include_env": "true",
        "include_ver": "false",
        "max_length": "63",
        "template": "none",
    }
    assert {name: said[name] for name in shown} == shown
    assert {name: str(made[name]).lower() for name in shown} == shown
    assert f"at most {LONGEST_DEFAULT} characters" in text

"""The dashboard and the alert rules: every metric, label and value that they name is really exported, and promtool takes them."""

import json
import os
import pwd
import re
import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from db.models import DeployTask, Installation
from tasks.planning import create_deploy_task
from tests.builders import NOW, create_fleet, upgrade_request

DEPLOYMENTS = Path(__file__).parents[3] / "deployments"
DASHBOARD = DEPLOYMENTS / "grafana" / "hoist.json"
RULES = DEPLOYMENTS / "prometheus" / "hoist-rules.yaml"
PROMETHEUS_OWN = {"up": {"job"}}
# A metric's name, with what is in its braces.
SELECTOR = re.compile(r"\b((?:hoist|process|python)_[a-z_]+|up)\b(?:\{([^}]*)\})?")
MATCHER = re.compile(r'(\w+)\s*(=~|!~|!=|=)\s*"([^"]*)"')
GROUPING = re.compile(r"\b(?:by|without|on)\s*\(([^)]*)\)")
SCRAPED = {"job", "instance"}
"""Labels that Prometheus adds."""


def rules():
    document = yaml.safe_load(RULES.read_text())
    return [rule for group in document["groups"] for rule in group["rules"]]


def panels():
    return [one for one in json.loads(DASHBOARD.read_text())["panels"] if one["type"] != "row"]


def expressions():
    found = {f"rule {rule['alert']}": rule["expr"] for rule in rules()}
    for panel in panels():
        for target in panel["targets"]:
            found[f"panel {panel['title']} {target['refId']}"] = target["expr"]
    for variable in json.loads(DASHBOARD.read_text())["templating"]["list"]:
        if variable["type"] == "query":
            found[f"variable {variable['name']}"] = variable["definition"]
    return found


@pytest.fixture(scope="module")
def promtool():
    """Debian's, wherever it is."""
    cached = Path(pwd.getpwuid(os.getuid()).pw_dir) / ".cache" / "hoist-promtool" / "promtool"
    found = shutil.which("promtool") or (str(cached) if cached.exists() else None)
    if found is None:
        reason = "promtool is missing: bash deployments/prometheus/promtool.sh"
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)
    return found


def run(promtool, *arguments, **options):
    done = subprocess.run(
        [promtool, *arguments], capture_output=True, text=True, timeout=120, check=False, **options
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done


@pytest.fixture
def exposition(served, database):
    """What a fleet's API says that has seen a report, a failed installation and a deploy task at work."""
    with database.write() as session:
        project, _ = create_fleet(session, {"c1": "1.4", "c2": "1.4", "c3": "1.4"})
        session.query(Installation).filter_by(client_id="c3").one().status = "failed"
        create_deploy_task(session, upgrade_request(project), now=NOW, who="ann")
        session.query(DeployTask).one().status = "running"
    said = {"client_id": "c1", "project_id": project.id, "version": "1.4", "processes": []}
    said["reported_at"] = datetime.now(UTC).isoformat()
    assert served.operator.post("/release/process-report", json=said).status_code == 202
    return served.viewer.get("/metrics").text


@pytest.fixture
def exported(exposition):
    """Each series' name, and all the labels that it comes with."""
    found = {name: [dict.fromkeys(labels, "")] for name, labels in PROMETHEUS_OWN.items()}
    for family in text_string_to_metric_families(exposition):
        for sample in family.samples:
            found.setdefault(sample.name, []).append(sample.labels)
    return found


def test_every_metric_label_and_value_is_exported(exported):
    wrong = []
    for place, expression in expressions().items():
        used = SELECTOR.findall(expression)
        assert used, f"{place} names no metric"
        known = set(SCRAPED)
        for name, inside in used:
            series = exported.get(name)
            if series is None:
                wrong.append(f"{place}: no metric {name}")
                continue
            labels = set().union(*series)
            known |= labels
            for label, operator, value in MATCHER.findall(inside):
                if label not in labels | SCRAPED:
                    wrong.append(f"{place}: {name} has no label {label}")
                elif label not in SCRAPED and operator in ("=", "=~") and not value.startswith("$"):
                    pattern = value if operator == "=~" else re.escape(value)
                    if not any(re.fullmatch(pattern, one.get(label, "")) for one in series):
                        wrong.append(f"{place}: {name} is never {label}={value}")
        bare = SELECTOR.sub(" ", expression)
        for group in GROUPING.findall(bare):
            wrong += [f"{place}: {one} is no label" for one in re.findall(r"\w+", group) if one not in known]
    assert wrong == []


def test_labels_in_texts_are_those_of_the_expression(exported):
    for rule in rules():
        said = json.dumps(rule["annotations"])
        labels = set().union(*(set().union(*exported[name]) for name, _ in SELECTOR.findall(rule["expr"])))
        assert set(re.findall(r"\$labels\.(\w+)", said)) <= labels | SCRAPED, rule["alert"]
        assert rule["labels"]["severity"] in ("warning", "critical")
    assert len({rule["alert"] for rule in rules()}) == len(rules())


def families(names):
    return {re.sub("_(bucket|sum|count)$", "", name) for name in names if name.startswith("hoist_")}


def test_everything_is_on_the_dashboard_or_in_a_rule_and_on_its_page(exported):
    shown = {name for one in expressions().values() for name, _ in SELECTOR.findall(one)}
    assert families(exported) - families(shown) == {"hoist_projects"}
    page = (DEPLOYMENTS.parent / "docs" / "how-to" / "metrics.md").read_text()
    assert families(exported) == families(re.findall(r"`(hoist_\w+)", page))


def test_promtool_takes_the_rules_and_they_do_as_they_say(promtool):
    run(promtool, "check", "rules", "--lint-fatal", RULES.name, cwd=RULES.parent)
    run(promtool, "test", "rules", "hoist-rules-test.yaml", cwd=RULES.parent)


def test_every_rule_is_tried_out():
    tried = (RULES.parent / "hoist-rules-test.yaml").read_text()
    assert [rule["alert"] for rule in rules() if rule["alert"] not in tried] == []


def test_promtool_reads_every_panel(promtool, tmp_path):
    """As recording rules, with Grafana's variables filled in."""
    recorded = [
        {
            "record": f"panel:{number}",
            "expr": expression.replace("$__rate_interval", "5m")
            .replace("$job", ".*")
            .replace("$project", ".*"),
        }
        for number, (place, expression) in enumerate(expressions().items())
        if place.startswith("panel")
    ]
    assert len(recorded) > 25
    document = {"groups": [{"name": "panels", "rules": recorded}]}
    (tmp_path / "panels.yaml").write_text(yaml.safe_dump(document))
    run(promtool, "check", "rules", "panels.yaml", cwd=tmp_path)


def test_promtool_finds_nothing_to_say_of_the_exposition(promtool, exposition):
    done = run(promtool, "check", "metrics", input=exposition)
    assert done.stdout + done.stderr == ""


def test_dashboard_is_whole():
    dashboard = json.loads(DASHBOARD.read_text())
    ids = [one["id"] for one in dashboard["panels"]]
    assert len(set(ids)) == len(ids)
    taken = set()
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, f"{panel['title']} lies over another"
        taken |= cells
    for panel in panels():
        assert panel["description"]
        assert {one["datasource"]["uid"] for one in panel["targets"]} == {"${datasource}"}


def test_dashboard_quotes_no_benchmark():
    """What was measured is on the benchmarks' page alone, which is made of the results."""
    said = {panel["title"]: panel["description"] for panel in panels()}
    assert [title for title, text in said.items() if re.search(r"\d a second", text)] == []
    assert "docs/reference/benchmarks.md" in said["Reports"]

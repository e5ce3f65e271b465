"""Names, counts and tables of a run."""

from collections import Counter

from agent.wire.processes import ProcessInfo
from db.documents.evidence import Evidence
from db.models import utc_now
from tasks.run_names import run_name, run_tags
from tasks.run_texts import ClientRow, evidence_text, failed_name, plan_text, summary, table_rows


def row(client: str, status: str) -> ClientRow:
    return ClientRow(client, 1, status, "1.4", "1.5", None, None)


def test_run_is_named_after_what_it_does():
    assert run_name("shop", "1.4", "1.5", "prod") == "shop 1.4 → 1.5 prod"
    assert run_name("shop", None, "1.5", "*") == "shop → 1.5"
    assert run_name("shop", "1.5", None, "prod") == "shop prod"


def test_tags_say_project_environment_and_operation():
    assert run_tags("shop", "prod", "deploy") == [
        "hoist",
        "project:shop",
        "operation:deploy",
        "environment:prod",
    ]


def test_counts_add_up_in_the_summary():
    statuses = Counter(success=3, failed=1, unreachable=1, skipped=2)
    assert summary(statuses) == "3 of 7 upgraded, 1 failed, 1 unreachable, 2 skipped"
    assert failed_name(statuses) == "2 of 7 failed"


def test_table_shows_failures_first_and_at_most_100():
    rows = [row(f"c{number:03}", "success") for number in range(150)] + [
        row("z", "failed"),
        row("y", "unreachable"),
    ]
    table = table_rows(rows)
    assert len(table) == 100
    assert [line["client"] for line in table[:3]] == ["z", "y", "c000"]


def test_evidence_says_what_was_seen_and_what_was_not_proven():
    process = ProcessInfo(pid=4711, name="app", start_time=utc_now(), status="sleeping", matched_by="main")
    seen = Evidence(verdict="held", held=True, processes=(process,), stable_for_s=30)
    assert evidence_text(seen) == "held · version not proven · pid 4711 (main) · stable 30 s"
    proven = seen.model_copy(update={"version_proven": True, "observed_version": "1.5"})
    assert "1.5 proven" in evidence_text(proven)


def test_text_from_outside_is_harmless_in_markdown():
    text = plan_text("<script>|`x`", [("a",)], [("b", "held\n# shouting")], [])
    assert "<script>" not in text
    assert "\n# shouting" not in text

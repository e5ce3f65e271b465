"""What a deploy task's document says, in words."""

import pytest

from api.cli.rollout import counts_of, headline, how_it_goes_on, how_to_try_again, news_of, state_of, waves_of

NAMES = ("total", "success", "failed", "pending", "running", "skipped", "unknown", "rolled_back")


def result(client, status="pending", **fields):
    return {"client_id": client, "status": status, "attempt": 1, "duration_ms": None, "error": None, **fields}


def task(*results, status="running", **fields):
    counts = {f"{name}_count": 0 for name in NAMES} | {"total_count": len(results)}
    for one in results:
        counts[f"{'failed' if one['status'] == 'unreachable' else one['status']}_count"] += 1
    return {
        "operation": "update",
        "selected_from_version": "1.0",
        "version": "1.1",
        "environment": "prod",
        "status": status,
        "status_reason": None,
        "plan": {"waves": [["a"], ["b", "c"]]},
        "results": results,
        **counts,
        **fields,
    }


def test_headline():
    assert headline(task(), "shop") == "update of shop 1.0 → 1.1 in prod"
    bare = task(operation="rollback", selected_from_version=None, version=None, environment=None)
    assert headline(bare, "sh\x1bop") == "rollback of shop what each had before"


def test_state_and_counts():
    assert state_of(task(status="paused", status_reason="its\nrun is gone")) == "paused: its run is gone"
    mixed = task(result("a", "success"), result("b", "unreachable"), result("c", "running"))
    assert counts_of(mixed) == "3 clients: 1 succeeded, 1 failed, 1 running"
    assert counts_of(task()) == "0 clients: none"


def test_the_next_try_goes_the_way_of_the_last():
    assert how_to_try_again(task(result("a", "failed"), id="t")) == "try them again: hoist retry t"
    back = [result(one, rollback={"status": how}) for one, how in (("a", "success"), ("b", "failed"))]
    assert how_to_try_again(task(*back, id="t")) == "try to take them back again: hoist undo t"
    assert "hoist retry" in how_to_try_again(task(back[0], id="t"))


def held(kind, **fields):
    return task(id="t", hold={"kind": kind, "until": None}, **{"auto_rollback": "all", **fields})


def test_way_back_is_not_named_where_it_would_be_refused():
    assert "take back whom it changed: hoist undo t" in how_it_goes_on(held("failures"))
    uninstalling = held("failures", operation="uninstall", auto_rollback="off")
    assert not [line for line in how_it_goes_on(uninstalling) if "undo" in line]


def test_waves_count_who_is_over_and_who_failed():
    first, second = waves_of(task(result("a", "success"), result("b", "unknown"), result("c", "running")))
    assert (first["wave"], first["over"], first["success"], first["failed"]) == (1, 1, 1, 0)
    assert (second["clients"], second["over"], second["failed"], second["running"]) == (2, 1, 1, 1)
    assert [row["over"] for row in waves_of(task())] == [0, 0]


def test_news_of_the_first_sight_tells_what_is_over_already():
    seen = task(result("a", "success", duration_ms=1500), result("b"), result("c"))
    assert list(news_of(None, seen)) == [
        "running",
        "a succeeded in 1.5 s",
        "wave 1 of 2 is over: 1 of 1 succeeded",
    ]


def test_nothing_new_is_no_news():
    seen = task(result("a", "success"), result("b", "running"), result("c"))
    assert list(news_of(seen, seen)) == []


def test_news_tell_failures_with_their_reason_and_the_end():
    before = task(result("a", "success"), result("b", "running"), result("c", "running"))
    after = task(
        result("a", "success"),
        result("b", "failed", error="exit code 3\x1b[2J", duration_ms=10),
        result("c", "skipped"),
        status="failed",
        status_reason="too many failed",
    )
    assert list(news_of(before, after)) == [
        "failed: too many failed",
        "b failed in 0.0 s: exit code 3[2J",
        "c skipped",
        "wave 2 of 2 is over: 0 of 2 succeeded, 1 failed",
    ]


@pytest.mark.parametrize("attempt", [1, 2])
def test_another_attempt_is_news_again(attempt):
    before = task(result("a", "failed"), result("b"), result("c"))
    after = task(result("a", "failed", attempt=attempt), result("b"), result("c"))
    assert list(news_of(before, after)) == (["a failed"] if attempt == 2 else [])

"""What a deploy task's document says, in words: pure, so that it can be tested without anything that moves."""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from api.cli.cells import cell, clean, duration

Task = Mapping[str, Any]
ENDED = ("completed", "failed", "cancelled", "rolled_back")
_OVER = ("success", "failed", "unreachable", "skipped", "rolled_back", "unknown")
_COUNTS = ("success", "failed", "running", "pending", "skipped", "unknown", "rolled_back")
_WORDS = {"success": "succeeded", "rolled_back": "rolled back"}


def headline(task: Task, project: str) -> str:
    """What it is about, in one line."""
    origin = f"{task['selected_from_version']} → " if task["selected_from_version"] else ""
    version = task["version"] or "what each had before"
    place = f" in {task['environment']}" if task["environment"] else ""
    return clean(f"{task['operation']} of {project} {origin}{version}{place}")


def counts_of(task: Task) -> str:
    """Its clients by what became of them; what is nobody's is left out. The failed include the unreachable."""
    counted = ((name, task[f"{name}_count"]) for name in _COUNTS)
    said = [f"{count} {_WORDS.get(name, name)}" for name, count in counted if count]
    return f"{task['total_count']} clients: " + (", ".join(said) or "none")


def state_of(task: Task) -> str:
    """Its status, with the reason where there is one."""
    reason = task["status_reason"]
    return clean(f"{task['status']}: {reason}" if reason else task["status"])


def waits_for_a_person(task: Task) -> bool:
    """Whether it goes on only when somebody says so."""
    hold = task.get("hold")
    return hold is not None and hold["until"] is None and hold["kind"] in _WORDS_FOR


_WORDS_FOR = {
    "approval": "approve",
    "canary": "promote",
    "wave": "promote",
    "failures": "resume",
    "operator": "resume",
}
"""What ends a hold, by its kind."""


def waits_for_a_freeze(task: Task) -> bool:
    """Whether it goes on by itself once nothing is frozen any more."""
    hold = task.get("hold")
    return hold is not None and hold["kind"] == "freeze"


def nothing_holds(task: Task) -> bool:
    """Whether it is paused, though nobody and nothing wants that: a run is about to go on with it, or its run is gone."""
    return task["status"] == "paused" and task.get("hold") is None and task.get("paused_by") is None


def how_it_goes_on(task: Task) -> list[str]:
    """What a person may say to a deploy task that waits for one."""
    word, task_id = _WORDS_FOR[task["hold"]["kind"]], task["id"]
    said = [f"let it go on: hoist {word} {task_id}", f"start no further client: hoist cancel {task_id}"]
    if task["operation"] != "uninstall":
        said.append(f"take back whom it changed: hoist undo {task_id}")
    return said


def how_to_try_again(task: Task) -> str:
    """The same way as the last try: forwards, or back."""
    back = any(
        (state := one.get("rollback")) and state["status"] in ("failed", "unreachable")
        for one in task["results"]
    )
    return (
        f"try to take them back again: hoist undo {task['id']}"
        if back
        else f"try them again: hoist retry {task['id']}"
    )


def waves_of(task: Task) -> list[dict[str, Any]]:
    """A row for each wave of the plan: who is in it, and how many are where."""
    statuses = {result["client_id"]: result["status"] for result in task["results"]}
    rows = []
    for number, clients in enumerate(task["plan"]["waves"], 1):
        counts = Counter(statuses.get(client, "pending") for client in clients)
        over = sum(counts[status] for status in _OVER)
        failed = counts["failed"] + counts["unreachable"] + counts["unknown"]
        rows.append(
            {
                "wave": number,
                "clients": len(clients),
                "over": over,
                "running": counts["running"],
                "success": counts["success"],
                "failed": failed,
                "who": clients,
            }
        )
    return rows


def news_of(before: Task | None, after: Task) -> Iterator[str]:
    """What changed between two answers about the same deploy task, a line each; `before` None: it is seen first."""
    if before is None or (before["status"], before["status_reason"]) != (
        after["status"],
        after["status_reason"],
    ):
        yield state_of(after)
    known = {_try_of(result) for result in before["results"]} if before else set()
    for result in after["results"]:
        if result["status"] in _OVER and _try_of(result) not in known:
            yield result_line(result)
    was = {row["wave"]: row["over"] for row in waves_of(before)} if before else {}
    waves = waves_of(after)
    for row in waves:
        if row["over"] == row["clients"] and was.get(row["wave"]) != row["over"]:
            failed = f", {row['failed']} failed" if row["failed"] else ""
            yield f"wave {row['wave']} of {len(waves)} is over: {row['success']} of {row['clients']} succeeded{failed}"


def result_line(result: Mapping[str, Any]) -> str:
    """What became of one client."""
    took = f" in {duration(result['duration_ms'])}" if result["duration_ms"] is not None else ""
    why = f": {result['error']}" if result["error"] else ""
    return clean(f"{result['client_id']} {_WORDS.get(result['status'], result['status'])}{took}{why}")


def passed_over(task: Task) -> list[dict[str, Any]]:
    """A row for each client that takes no part."""
    return [
        {**one, "reason": one["reason"].replace("_", " "), "detail": cell(one.get("detail"))}
        for one in task["skipped"]
    ]


def _try_of(result: Mapping[str, Any]) -> tuple[str, str, int]:
    return result["client_id"], result["status"], result["attempt"]

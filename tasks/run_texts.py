"""What a run's artifacts say: pure text and rows, from values."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from db.documents.evidence import Evidence
from tasks.decisions.preflight import Readiness
from tasks.decisions.regressions import UNITS, Change
from tasks.decisions.rollout import Hold, Next
from tasks.work import Release

MAX_ROWS = 100
_ORDER = ("failed", "unreachable", "unknown", "running", "pending", "skipped", "rolled_back", "success")
_FAILED = ("failed", "unreachable", "unknown")


@dataclass(frozen=True, slots=True)
class ClientRow:
    """One client's line in the table."""

    client_id: str
    wave: int
    status: str
    from_version: str | None
    to_version: str
    error: str | None
    evidence: Evidence | None


@dataclass(frozen=True, slots=True)
class NameRow:
    """What one client's container will be called. `name` None: its agent names it, `error` says why."""

    client_id: str
    wave: int
    current: str | None
    name: str | None
    image: str
    error: str | None = None


@dataclass(frozen=True, slots=True)
class PreflightRow:
    """Whether one client is ready for what is planned. `way_back`: the version before, and what takes it there."""

    client_id: str
    wave: int
    from_version: str | None
    to_version: str
    readiness: Readiness
    way_back: str


def preflight_rows(rows: Iterable[PreflightRow]) -> list[dict[str, str]]:
    """The table of a dry run: who is not ready first, at most 100 rows."""
    ordered = sorted(rows, key=lambda row: (not row.readiness.problems, row.wave, row.client_id))
    return [
        {
            "client": row.client_id,
            "ready": "NO" if row.readiness.problems else "yes",
            "wave": str(row.wave + 1),
            "from": row.from_version or "–",
            "to": row.to_version,
            "agent": row.readiness.agent,
            "method": row.readiness.method,
            "free": row.readiness.free,
            "way back": row.way_back,
            "problem": "; ".join(row.readiness.problems),
        }
        for row in ordered[:MAX_ROWS]
    ]


def name_rows(rows: Iterable[NameRow]) -> list[dict[str, str]]:
    """The table of names: those without one first, at most 100 rows."""
    ordered = sorted(rows, key=lambda row: (row.name is not None, row.wave, row.client_id))
    return [
        {
            "client": row.client_id,
            "wave": str(row.wave + 1),
            "runs now": row.current or "–",
            "will be": row.name or "named by its agent",
            "image": row.image,
            "error": row.error or "",
        }
        for row in ordered[:MAX_ROWS]
    ]


def introduction(release: Release, api_url: str | None = None) -> str:
    """The first artifact: which deploy task this run works on, and what Prefect's buttons do here."""
    address = f"`GET /release/tasks/{release.deploy_task_id}`" + (f" on {api_url}" if api_url else "")
    waves = ", ".join(str(len(wave)) for wave in release.waves)
    passed = "".join(f"\n- `{client}`: {_cell(reason)}" for client, reason in release.skipped[:MAX_ROWS])
    return f"""# {_cell(release.name)}

This run works on **deploy task `{release.deploy_task_id}`** ({release.operation} of {_cell(release.project)}, {release.total} \
clients in waves of {waves}). The deploy task is the record; this run is the worker: {address}.

**Retry** is for a run that broke off: it goes on where this one stopped. Clients that have the version already are not \
touched, scripts that are still running are found again by their execution id, and no script runs twice. Clients that failed, \
or were skipped because the run ended before their turn, stay so: to try those, `POST /release/tasks/{release.deploy_task_id}/retry`.

**Cancel** ends this run at once. Scripts that are running on clients go on there, and their results are picked up by \
the next one: Retry, or `POST /release/tasks/{release.deploy_task_id}/retry`. To end gently (or to kill what runs), `POST /release/tasks/{release.deploy_task_id}/cancel` with \
`{{"running": "finish"}}` or `{{"running": "kill"}}`.
""" + (f"\nPassed over:{passed}\n" if passed else "")


_WAYS_ON = {
    Hold.APPROVAL: "Another token than its creator's approves it: `POST {task}/approve`. A resume on this page does not.",
    Hold.CANARY: "Resume this run with a decision, or `POST {task}/promote`, `…/cancel` or `…/rollback`.",
    Hold.WAVE: "Resume this run with a decision, or `POST {task}/promote`, `…/cancel` or `…/rollback`.",
    Hold.FAILURES: "Resume this run with a decision, or `POST {task}/resume`, `…/cancel` or `…/rollback`.",
    Hold.OPERATOR: "Resume this run with a decision, or `POST {task}/resume`, `…/cancel` or `…/rollback`.",
    Hold.FREEZE: "It goes on by itself once the freeze is over or lifted (`DELETE /release/freezes/…`).",
    Hold.WINDOW: "It goes on by itself.",
    Hold.SCHEDULE: "It goes on by itself.",
}


def hold_text(release: Release, step: Next) -> str:
    """What a run waits for, until when, and what ends it."""
    assert step.hold is not None
    until = f"\n\nUntil {step.until:%Y-%m-%d %H:%M:%S} UTC." if step.until else ""
    way = _WAYS_ON[step.hold].format(task=f"/release/tasks/{release.deploy_task_id}")
    return f"# {_cell(release.name)} waits\n\n{_cell(step.reason)}.{until}\n\n{way}\n"


def plan_text(
    name: str, waves: Iterable[tuple[str, ...]], skipped: Iterable[tuple[str, str]], changes: Iterable[str]
) -> str:
    """What a dry run shows: who would be touched, in which order, and who would not."""
    lines = [f"# Plan: {_cell(name)}", "", "Nothing was written and nothing was started.", ""]
    for number, wave in enumerate(waves, start=1):
        shown = ", ".join(f"`{client}`" for client in wave[:MAX_ROWS])
        more = f" and {len(wave) - MAX_ROWS} more" if len(wave) > MAX_ROWS else ""
        lines.append(f"{number}. {len(wave)} clients: {shown}{more}")
    lines += [f"- passed over: `{client}`: {_cell(reason)}" for client, reason in list(skipped)[:MAX_ROWS]]
    lines += [f"- changed since the plan was made: {_cell(change)}" for change in list(changes)[:MAX_ROWS]]
    return "\n".join(lines)


def table_rows(rows: Iterable[ClientRow]) -> list[dict[str, str]]:
    """The table artifact: failures first, at most 100 rows."""
    ordered = sorted(rows, key=lambda row: (_ORDER.index(row.status), row.wave, row.client_id))
    return [_table_row(row) for row in ordered[:MAX_ROWS]]


def _table_row(row: ClientRow) -> dict[str, str]:
    return {
        "client": row.client_id,
        "status": row.status,
        "wave": str(row.wave + 1),
        "from": row.from_version or "–",
        "to": row.to_version,
        "evidence": evidence_text(row.evidence),
        "error": row.error or "",
    }


def usage_rows(changes: Iterable[Change]) -> list[dict[str, str]]:
    """The table of what a version uses: who is worse first, then what rose most; at most 100 rows."""
    ordered = sorted(changes, key=lambda one: (not one.worse, -(one.percent or 0.0), one.client_id))
    return [
        {
            "client": one.client_id,
            "figure": f"{one.figure} ({UNITS[one.figure]})"
            if one.figure != UNITS[one.figure]
            else one.figure,
            "before": f"{one.before:.1f}",
            "after": f"{one.after:.1f}",
            "change": f"{one.percent:+.0f} %" if one.percent is not None else "–",
            "worse": "YES" if one.worse else "no",
        }
        for one in ordered[:MAX_ROWS]
    ]


def evidence_text(evidence: Evidence | None) -> str:
    """What was seen, in one line: `HELD · 1.5 proven · pid 4711 (main) · stable 30 s`."""
    if evidence is None:
        return "–"
    parts = [evidence.verdict]
    if evidence.version_proven:
        parts.append(f"{evidence.observed_version} proven")
    elif evidence.observed_version:
        parts.append(f"answers {evidence.observed_version}")
    else:
        parts.append("version not proven")
    parts += [f"pid {seen.pid} ({seen.matched_by})" for seen in evidence.processes[:3]]
    parts += [
        f"{seen.container_name} {(seen.image_id or seen.image)[:19]} ({seen.state})"
        for seen in evidence.containers[:3]
    ]
    parts += [f"nothing matches {name}" for name in evidence.unmatched_rules[:3]]
    parts += [
        f"{check.type} {check.subject}: {'passed' if check.passed else check.detail}"
        for check in evidence.checks[:3]
    ]
    if evidence.stable_for_s:
        parts.append(f"stable {evidence.stable_for_s:g} s")
    return " · ".join(parts)


def summary(statuses: Mapping[str, int]) -> str:
    """`3 of 4 upgraded, 1 failed, 2 skipped`."""
    counts = Counter(statuses)
    others = [
        f"{counts[status]} {status.replace('_', ' ')}"
        for status in _ORDER
        if status != "success" and counts[status]
    ]
    return ", ".join([f"{counts['success']} of {counts.total()} upgraded", *others])


def failed_name(statuses: Mapping[str, int]) -> str:
    """The failed state's name: `1 of 4 failed`."""
    counts = Counter(statuses)
    failed = sum(counts[status] for status in _FAILED)
    return f"{failed} of {counts.total()} failed" if failed else "Not finished"


def _cell(text: str) -> str:
    """Text from outside, harmless in Markdown."""
    return text.replace("<", "&lt;").replace("`", "'").replace("|", "/").replace("\n", " ")

"""How what is to run differs from what ran for the version before: as a diff, without its secrets."""

import difflib
import re
from collections.abc import Iterator

from sqlalchemy.orm import Session

from agent.wire.containers import DeployConfig
from db.documents.plan import PlannedClient
from db.models import Version
from db.queries.versions import find_version

MAX_LINES = 200
MAX_LINE, MOST_COMPARED = 300, 10_000
"""Characters that are shown of a line; lines of one script beyond which it is not compared: that takes the square of them."""
_SECRET = re.compile(r"(?i)((?:password|passwd|token|secret|key)[\w-]{0,64}[\"']?\s{0,8}[=:]\s{0,8})\S+")


def script_differences(
    session: Session, project_id: str, clients: tuple[PlannedClient, ...]
) -> Iterator[str]:
    """A diff (Markdown) for each pair of versions that the plan has, once."""
    pairs = sorted({(one.from_version or "", one.version_id, one.script_field) for one in clients})
    for from_version, version_id, name in pairs:
        version = session.get(Version, version_id)
        before = find_version(session, project_id, from_version) if from_version else None
        if version is None:
            continue
        yield f"### {name} of {version.version}" + _compared(before, version, name)


def _compared(before: Version | None, version: Version, name: str) -> str:
    if before is None or before.id == version.id:
        return ": there is none before it to compare it with"
    lines = diff_lines(_source(before, name), _source(version, name))
    if not lines:
        return f": the same as {before.version}'s"
    return f", against {before.version}'s\n\n````diff\n" + "\n".join(lines) + "\n````"


def diff_lines(before: str, after: str) -> list[str]:
    """A unified diff, three lines round each change, at most 200 lines; values that look secret are masked."""
    old, new = before.splitlines(), after.splitlines()
    if max(len(old), len(new)) > MOST_COMPARED and old != new:
        return [f"too long to be compared: {len(old)} lines before, {len(new)} now"]
    found = list(difflib.unified_diff(old, new, lineterm=""))[2:]
    shown = [_shown(line) for line in found[:MAX_LINES]]
    if len(found) > MAX_LINES:
        shown.append(f"… and {len(found) - MAX_LINES} more lines")
    return shown


def _shown(line: str) -> str:
    """Masked first: a cut must not hide the name that gives a value away."""
    masked = _SECRET.sub(r"\1***", line).replace("````", "'''")
    return masked if len(masked) <= MAX_LINE else f"{masked[:MAX_LINE]}… ({len(masked)} characters)"


def _source(version: Version, name: str) -> str:
    source = getattr(version, name)
    if isinstance(source, DeployConfig):
        return source.model_dump_json(indent=2, exclude_none=True)
    return source or ""

"""Fencing numbers: a caller whose lease was taken over must not change the host any more."""

import json
from pathlib import Path

from agent.disk import write_durably
from agent.errors import Refused
from agent.wire.problems import LOWER_FENCE


class Fences:
    """The highest fence seen per project, kept on disk; a lower one is refused (409)."""

    def __init__(self, state_dir: Path) -> None:
        self._path = state_dir / "fences.json"
        self._highest: dict[str, int] = {}
        if self._path.exists():
            self._highest = {str(k): int(v) for k, v in json.loads(self._path.read_text()).items()}

    def check(self, project_id: str, fence: int | None) -> None:
        """Refuse a `fence` below the highest so far; a higher one is on disk when this returns.

        One that can't be written is refused (507) and not remembered.
        """
        highest = self._highest.get(project_id, -1)
        if fence is None or fence == highest:
            return
        if fence < highest:
            raise Refused(
                409,
                LOWER_FENCE,
                f"cannot act on project {project_id} with fence {fence}: {highest} was here already",
            )
        highest_now = {**self._highest, project_id: fence}
        try:
            write_durably(self._path, json.dumps(highest_now).encode())
        except OSError as error:
            detail = f"cannot act on project {project_id}: its fence can't be written: {error.strerror}"
            raise Refused(507, "Insufficient storage", detail) from error
        self._highest = highest_now

"""hatch's build hook: where the sources are installed for work on them, `hoist` is a command; on hosts it is not.

The wheel that goes on hosts holds the agent alone (see pyproject.toml), so the command would be there, and fail.
https://hatch.pypa.io/latest/plugins/builder/wheel/#build-data
"""

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class ConsoleScripts(BuildHookInterface):
    """Adds api/cli/hoist to an editable wheel."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Called before the wheel is made; `version` is standard or editable."""
        if version == "editable":
            build_data["shared_scripts"][str(Path(self.root) / "api" / "cli" / "hoist")] = "hoist"

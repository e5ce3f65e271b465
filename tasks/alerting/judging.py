"""What a batch of reports is judged by: read once, changed as its reports are judged one after the other."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from agent.wire.processes import ProcessConfig
from db.history.dialects import is_pair_of
from db.models import Alert, Client, Environment, Project, Version, utc_now
from db.queries.alerts import (
    Installed,
    Pair,
    deploying_pairs,
    installed,
    live_alerts,
    memories,
    put_memories,
)
from tasks.alerting.changing import Look, Place, apply_observations
from tasks.decisions.alerts import STALE_AFTER_S
from tasks.decisions.observed import Observed
from tasks.decisions.process_watching import MISSED_INTERVALS


class Judging:
    """What a batch of reports is judged by, read once."""

    def __init__(self, session: Session, pairs: Sequence[Pair], kind: str, types: Sequence[str]) -> None:
        self._session = session
        self._kind = kind
        self.installed = installed(session, pairs)
        self.configs = _configs(session, self.installed)
        self.deploying = deploying_pairs(session, {client_id for client_id, _ in pairs}, utc_now())
        self._memories = memories(session, pairs, kind)
        self._learned: dict[Pair, dict[str, Any]] = {}
        self._live: dict[Pair, list[Alert]] = defaultdict(list)
        for alert in live_alerts(session, pairs, types):
            self._live[(alert.client_id or "", alert.project_id or "")].append(alert)

    def stale_after_s(self, pair: Pair) -> float:
        """When what was seen of the pair's containers or pods is too old: three reports late, three minutes at least."""
        config = self.configs.get(pair, ProcessConfig())
        return max(STALE_AFTER_S, float(MISSED_INTERVALS * config.collect_interval))

    def live(self, pair: Pair) -> list[Alert]:
        """The pair's alerts that wait or fire, as the reports before it in this batch left them."""
        return self._live[pair]

    def apply(self, pair: Pair, observed: Sequence[Observed], look: Look) -> None:
        """Change the pair's alerts by what was seen."""
        live = self._live[pair]
        if live or any(one.holds for one in observed):
            self._live[pair] = apply_observations(self._session, self.place(pair), observed, live, look)

    def place(self, pair: Pair) -> Place:
        """What the pair is called."""
        client_id, project_id = pair
        installation = self.installed.get(pair)
        client = self._session.get(Client, client_id)
        project = self._session.get_one(Project, project_id)
        environment = (
            self._session.get(Environment, installation.environment_id) if installation is not None else None
        )
        return Place(
            client_id,
            client.labels if client is not None else {},
            project_id,
            project.name,
            installation.version if installation is not None else None,
            environment.name if environment is not None else None,
        )

    def memory(self, pair: Pair) -> Mapping[str, Any]:
        """What was remembered."""
        return self._memories.get(pair, {})

    def remember(self, pair: Pair, document: dict[str, Any]) -> None:
        """Keep it for the next report."""
        if self._memories.get(pair) != document:
            self._memories[pair] = self._learned[pair] = document

    def keep(self) -> None:
        """Write down what is remembered, once all of the batch is judged."""
        put_memories(self._session, self._kind, self._learned)


def _configs(session: Session, there: Mapping[Pair, Installed]) -> dict[Pair, ProcessConfig]:
    """What each pair's installed version says of its processes, and of how often all is reported."""
    wanted = {(project_id, row.version) for (_, project_id), row in there.items()}
    if not wanted:
        return {}
    whose = (Version.project_id, Version.version)
    query = select(*whose, Version.process_config).where(
        is_pair_of(session, whose, sorted(wanted)), Version.process_config.is_not(None)
    )
    by_version = {(project_id, version): config for project_id, version, config in session.execute(query)}
    found = {pair: by_version.get((pair[1], row.version)) for pair, row in there.items()}
    return {pair: config for pair, config in found.items() if config is not None}

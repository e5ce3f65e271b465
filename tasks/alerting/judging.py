"""What a batch of reports is judged by: read once, changed as its reports are judged one after the other."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from functools import cached_property, lru_cache
from typing import Any

from pydantic_core import from_json
from sqlalchemy.orm import Session

from agent.wire.processes import ProcessConfig
from db.models import Alert, Client, Environment, Project, utc_now
from db.queries.alerts import Pair, live_alerts, put_memories, read_known
from db.queries.deployments import deploying_pairs, ended_deployments
from tasks.alerting.changing import Look, Place, apply_observations
from tasks.decisions.alerts import STALE_AFTER_S
from tasks.decisions.observed import Observed
from tasks.decisions.process_watching import MISSED_INTERVALS

LATE = timedelta(seconds=2)
"""As much as a clock may be off before a report's time is put right."""


class Judging:
    """What a batch of reports, the oldest made at `since`, is judged by, read once."""

    def __init__(
        self, session: Session, pairs: Sequence[Pair], kind: str, types: Sequence[str], *, since: datetime
    ) -> None:
        self._session = session
        self._kind = kind
        self._pairs = pairs
        self._client_ids = {client_id for client_id, _ in pairs}
        self._since = since
        self.installed, self._documents = read_known(session, pairs, kind)
        self._memories: dict[Pair, Mapping[str, Any]] = {}
        self._learned: dict[Pair, dict[str, Any]] = {}
        self._live: dict[Pair, list[Alert]] = defaultdict(list)
        for alert in live_alerts(session, pairs, types):
            self._live[(alert.client_id or "", alert.project_id or "")].append(alert)

    def is_installed(self, pair: Pair, version: str) -> bool:
        """Whether it is that version that is recorded as installed."""
        there = self.installed.get(pair)
        return there is not None and there.version == version

    def is_deploying(self, pair: Pair, look: Look) -> bool:
        """Whether a deploy task is at work on the pair, forward or back; of what came late, whether one was then.

        One that is installed otherwise than a moment ago counts, too: its deployment has ended in between.
        """
        if pair in self._deploying:
            return True
        came_late = look.now - look.at > LATE
        return came_late and any(
            began <= look.at <= ended for began, ended in self._deployments.get(pair, ())
        )

    @cached_property
    def _deploying(self) -> set[Pair]:
        """Not read before it is asked for: most reports need no alert."""
        deploying = deploying_pairs(self._session, self._client_ids, utc_now())
        there, _ = read_known(self._session, self._pairs, self._kind)
        return deploying | {pair for pair in self._pairs if there.get(pair) != self.installed.get(pair)}

    @cached_property
    def _deployments(self) -> Mapping[Pair, Sequence[tuple[datetime, datetime]]]:
        return ended_deployments(self._session, self._client_ids, self._since)

    def config(self, pair: Pair) -> ProcessConfig:
        """What the pair's installed version says of its processes, and of how often all is reported."""
        there = self.installed.get(pair)
        return _config_of(there.process_config if there is not None else None)

    def stale_after_s(self, pair: Pair) -> float:
        """When what was seen of the pair's containers or pods is too old: three reports late, three minutes at least."""
        return max(STALE_AFTER_S, float(MISSED_INTERVALS * self.config(pair).collect_interval))

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

    def basis(self, pair: Pair) -> tuple[str | None, str | None]:
        """The documents that the pair is judged by, as they are kept: its version's `process_config`, its memory."""
        there = self.installed.get(pair)
        return (there.process_config if there is not None else None, self._documents.get(pair))

    def memory(self, pair: Pair) -> Mapping[str, Any]:
        """What was remembered."""
        if pair not in self._memories:
            document = self._documents.get(pair)
            if document is None:
                return {}
            self._memories[pair] = from_json(document)
        return self._memories[pair]

    def remember(self, pair: Pair, document: dict[str, Any]) -> None:
        """Keep it for the next report."""
        if self.memory(pair) != document or pair not in self._memories:
            self._memories[pair] = self._learned[pair] = document
            self._documents.pop(pair, None)

    def keep(self) -> None:
        """Write down what is remembered, once all of the batch is judged."""
        put_memories(self._session, self._kind, self._learned)


@lru_cache(maxsize=4096)
def _config_of(document: str | None) -> ProcessConfig:
    return ProcessConfig() if document is None else ProcessConfig.model_validate_json(document)

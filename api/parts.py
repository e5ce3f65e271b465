"""The parts that the API is made of, made once at the start and shared by every call."""

from dataclasses import dataclass, field

from api.flow_runs import FlowRuns
from api.metrics.process import ProcessMetrics
from api.settings import ApiSettings
from db.secrets import SecretBox
from db.session import Database


@dataclass(frozen=True, slots=True)
class Parts:
    """The settings, the database, the secrets' box, and what this process counts."""

    settings: ApiSettings
    database: Database
    box: SecretBox
    flow_runs: FlowRuns
    metrics: ProcessMetrics = field(default_factory=ProcessMetrics)

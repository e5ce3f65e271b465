"""Makes the monitors and what they report with out of the agent's settings."""

from agent.monitors.delivery import Delivery
from agent.monitors.reporting import Reporting
from agent.monitors.sending import ReportSender
from agent.monitors.service import HostReports, Monitors, SelectionReports
from agent.monitors.spool import Spool
from agent.monitors.store import MonitorStore
from agent.processes.collector import ProcessCollector
from agent.settings import AgentSettings


def build_reporting(settings: AgentSettings, collector: ProcessCollector) -> Reporting:
    """What reports are made and delivered with; raises OSError when the state directory can't be used, SettingsError for a wrong CA."""
    spool = Spool(settings.state_dir)
    delivery = None
    if settings.api_url:
        delivery = Delivery(spool, ReportSender(settings.api_url, settings.api_token, settings.api_ca))
    return Reporting(settings.client_id, collector, spool, delivery)


def build_monitors(
    settings: AgentSettings,
    reporting: Reporting,
    containers: HostReports | None = None,
    pods: SelectionReports | None = None,
) -> Monitors:
    """All monitors, as the state directory holds them; `containers` reports the host's, `pods` the cluster's, where one asks for it."""
    return Monitors(MonitorStore(settings.state_dir), reporting, containers, pods)

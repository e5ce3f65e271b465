"""Every table, imported here so that the metadata is whole."""

from db.models.alerts import Alert, AlertMemory, Silence
from db.models.audit import AuditEntry, IdempotencyKey
from db.models.base import Base, utc_now
from db.models.clients import Client, Target
from db.models.container_reports import ContainerReportRow, LatestContainerReport
from db.models.deploy_tasks import DeployResult, DeployTask
from db.models.freezes import Freeze
from db.models.installations import Installation, InstallationEvent
from db.models.leases import Lease
from db.models.news import Delivery, News
from db.models.pod_reports import LatestPodReport, PodReportRow
from db.models.projects import Environment, Project
from db.models.reports import LatestProcessReport, ProcessReportRow, ProcessSet
from db.models.versions import Version

__all__ = [
    "Alert",
    "AlertMemory",
    "AuditEntry",
    "Base",
    "Client",
    "ContainerReportRow",
    "Delivery",
    "DeployResult",
    "DeployTask",
    "Environment",
    "Freeze",
    "IdempotencyKey",
    "Installation",
    "InstallationEvent",
    "LatestContainerReport",
    "LatestPodReport",
    "LatestProcessReport",
    "Lease",
    "News",
    "PodReportRow",
    "ProcessReportRow",
    "ProcessSet",
    "Project",
    "Silence",
    "Target",
    "Version",
    "utc_now",
]

"""How a deploy task comes to be: reads the fleet, decides, freezes a plan. The API and the flow both come through here."""

from db.queries.deploy_tasks import Counts, counts_of
from tasks.planning.changes import fleet_changes, replan
from tasks.planning.creating import create_deploy_task, preview_deploy_task
from tasks.planning.drafting import Draft

__all__ = [
    "Counts",
    "Draft",
    "counts_of",
    "create_deploy_task",
    "fleet_changes",
    "preview_deploy_task",
    "replan",
]

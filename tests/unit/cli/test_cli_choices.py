"""The words that options offer are the API's own: the command line doesn't import them, so that it starts fast."""

from typing import get_args

import pytest

from agent.wire.executions import Operation
from api.cli import alerts, deploy_tasks, deploying, installations, projects, versions
from api.schemas.alerts import AlertStatus
from api.schemas.deploy_tasks import RetryRequest, TaskStatus
from api.schemas.installations import InstallationStatus
from api.schemas.projects import ProjectCreate
from api.schemas.versions import VersionStatus
from tasks.planning.controls import RETRIABLE


def choices(command, option):
    (found,) = (one.type.choices for one in command.params if one.name == option)
    return set(found)


@pytest.mark.parametrize(
    ("command", "option", "words"),
    [
        (projects.create_project, "kind", get_args(ProjectCreate.model_fields["type"].annotation)),
        (versions.create_version, "status", get_args(VersionStatus)),
        (versions.list_versions, "status", get_args(VersionStatus)),
        (installations.list_installations, "status", get_args(InstallationStatus)),
        (deploying.plan, "operation", get_args(Operation)),
        (deploy_tasks.show_status, "status", get_args(TaskStatus)),
        (deploy_tasks.retry_task, "statuses", RETRIABLE),
        (alerts.list_alerts, "status", (*get_args(AlertStatus), "all")),
    ],
)
def test_options_offer_what_the_api_takes(command, option, words):
    assert choices(command, option) == set(words)


def test_every_retried_status_is_taken():
    assert RetryRequest(statuses=deploy_tasks.RETRIED).statuses == deploy_tasks.RETRIED

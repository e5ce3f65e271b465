"""Builds rows for tests: each takes a session and what matters, and answers the row, flushed."""

import hashlib
from datetime import UTC, datetime

from sqlalchemy.orm import Session

from agent.wire.containers import DeployConfig
from agent.wire.naming import ContainerNaming
from agent.wire.processes import ProcessConfig
from db.documents.deploy_request import DeployTaskRequest
from db.documents.evidence import EvidenceConfig
from db.documents.strategy import Strategy
from db.ids import new_id
from db.models import Alert, Client, Environment, Installation, Project, Target, Version, utc_now

NOW = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)


def create_project(session: Session, name: str = "shop", **values) -> Project:
    return _add(session, Project(name=name, **{"type": "script", **values}))


def create_environment(session: Session, project: Project, name: str = "prod", **values) -> Environment:
    return _add(session, Environment(project_id=project.id, name=name, **values))


def create_client(session: Session, client_id: str = "web-01", **values) -> Client:
    values.setdefault("url", f"https://{client_id}.example:4220")
    values.setdefault("labels", {})
    values.setdefault("report_token_sha256", hashlib.sha256(new_id().encode()).hexdigest())
    return _add(session, Client(client_id=client_id, **values))


def create_target(session: Session, environment: Environment, client: Client | str, **values) -> Target:
    """A target; a client that is given by its name is created."""
    if isinstance(client, str):
        client = session.get(Client, client) or create_client(session, client)
    values.setdefault("name", client.client_id)
    target = Target(
        project_id=environment.project_id,
        environment_id=environment.id,
        client_id=client.client_id,
        **{"type": "host", "labels": {}, **values},
    )
    return _add(session, target)


def create_version(session: Session, project: Project, version: str = "1.4", **values) -> Version:
    """An active version with all four scripts, whose exit code is its evidence."""
    defaults = {
        "status": "active",
        "work_dir": f"/srv/{project.name}",
        "install_script": f"echo install {version}",
        "update_script": f"echo update {version}",
        "rollback_script": f"echo rollback {version}",
        "uninstall_script": f"echo uninstall {version}",
        "process_config": ProcessConfig(),
        "evidence": EvidenceConfig(source="exit_code"),
        "env": {},
    }
    return _add(session, Version(project_id=project.id, version=version, **{**defaults, **values}))


def create_container_project(session: Session, name: str = "shop", **values) -> Project:
    """A container project whose prefix is its name."""
    defaults = {"type": "container", "container_naming": ContainerNaming(prefix=name)}
    return create_project(session, name, **{**defaults, **values})


def create_container_version(session: Session, project: Project, version: str = "1.4", **values) -> Version:
    """An active version whose image is tagged with its name."""
    defaults = {
        "status": "active",
        "deploy_config": DeployConfig(image=f"{project.name}:{version}"),
        "process_config": ProcessConfig(),
        "evidence": EvidenceConfig(),
        "env": {},
    }
    return _add(session, Version(project_id=project.id, version=version, **{**defaults, **values}))


def create_installation(
    session: Session, target: Target, version: str = "1.4", status: str = "installed", **values
) -> Installation:
    values.setdefault("installed_at", NOW)
    values.setdefault("last_updated_at", values["installed_at"])
    installation = Installation(
        project_id=target.project_id,
        target_id=target.id,
        environment_id=target.environment_id,
        client_id=target.client_id,
        version=version,
        status=status,
        **values,
    )
    return _add(session, installation)


def create_fleet(
    session: Session,
    installed: dict[str, str | None],
    versions: tuple[str, ...] = ("1.4", "1.5"),
    project_name: str = "shop",
    environment_name: str = "prod",
) -> tuple[Project, Environment]:
    """A project with one environment and active versions, and a client for each name with the version it has."""
    project = create_project(session, project_name)
    environment = create_environment(session, project, environment_name)
    for version in versions:
        create_version(session, project, version)
    for client_id, version in installed.items():
        target = create_target(session, environment, client_id)
        if version is not None:
            create_installation(session, target, version)
    return project, environment


def upgrade_request(project: Project, version: str = "1.5", **values) -> DeployTaskRequest:
    """A request that upgrades every client which has the project, all in one wave, unless `values` say otherwise."""
    if "client_ids" not in values and "selector" not in values:
        values.setdefault("auto_select_clients", True)
    values.setdefault("operation", "update")
    values.setdefault("strategy", Strategy(waves=("100%",)))
    return DeployTaskRequest(project_id=project.id, version=version, **values)


def make_alert(
    type_: str, level: str, client_id: str = "c1", *, fired=True, resolved=False, **values
) -> Alert:
    """An alert of a process `shop` that holds since now; `fired`, `resolved`: whether it is that, too."""
    now = utc_now()
    defaults = {
        "fingerprint": new_id(),
        "source": "process",
        "subject": "shop",
        "title": "t",
        "message": "m",
        "since": now,
        "held_at": now,
        "seen_at": now,
        "holds": True,
        "for_s": 0,
        "keep_firing_s": 0,
        "stale_after_s": 0,
        "fired_at": now if fired else None,
        "resolved_at": now if resolved else None,
    }
    return Alert(type=type_, level=level, client_id=client_id, **{**defaults, **values})


def _add(session: Session, row):
    session.add(row)
    session.flush()
    return row

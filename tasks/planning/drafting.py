"""Makes a draft of a deploy task from a request and the fleet as it is: everything but writing it down."""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.orm import Session

from db.documents.deploy_request import DeployTaskRequest
from db.documents.plan import Plan, PlannedClient, Skipped
from db.documents.strategy import Strategy
from db.errors import RowNotFoundError
from db.models import Environment, Project, Version
from db.queries.projects import find_project
from db.queries.versions import find_version, get_version, versions_by_name
from tasks.decisions.selection import Candidate, Wish, order_of, pass_over
from tasks.decisions.waves import cut_into_waves
from tasks.errors import NotFoundError, PlanningError
from tasks.planning.fleet import Member, choose_candidates, groups_of, read_members, wanted_environments
from tasks.planning.going_back import check_way_back
from tasks.planning.naming import check_names, check_type
from tasks.planning.scripts import ChosenScript, choose_script, recipe_sha256

MAX_SPREAD = 1000
"""Waves that `spread_by` may make."""


@dataclass(frozen=True, slots=True)
class Draft:
    """A deploy task that is not written down. `environment` is the name, or "*"; `client_ids` are in the plan's order."""

    project_id: str
    project_name: str
    version_id: str | None
    version: str | None
    operation: str
    environment: str
    client_ids: tuple[str, ...]
    selected_from_version: str | None
    skipped: tuple[Skipped, ...]
    strategy: Strategy
    plan: Plan


def draft_deploy_task(session: Session, request: DeployTaskRequest, now: datetime) -> Draft:
    """What the request means now. Raises NotFoundError, and PlanningError where it can't become a deploy task."""
    project = _project(session, request)
    version = _version(session, project, request)
    environments = wanted_environments(session, project, request.environment)
    check_type(project, request)
    members = read_members(session, project.id, now)
    candidates = sorted(choose_candidates(members, request, environments, project), key=order_of)
    wish = _wish(request, version)
    passed = [(candidate, pass_over(candidate, wish)) for candidate in candidates]
    chosen = [candidate for candidate, skipped in passed if skipped is None]
    skipped = tuple(skipped for _, skipped in passed if skipped is not None)
    if not chosen:
        raise _nobody_left(project, request, skipped)
    strategy = request.strategy or project.default_strategy or Strategy()
    to_versions = {candidate.client_id: _to_version(candidate, request, version) for candidate in chosen}
    scripts = _scripts(session, project, request, chosen, to_versions)
    reached = versions_by_name(session, project.id, to_versions.values())
    recipes = {
        client_id: recipe_sha256(project, script.version, reached.get(to_versions[client_id]))
        for client_id, script in scripts.items()
    }
    waves = _cut(chosen, strategy, members)
    clients = _plan_clients(chosen, to_versions, scripts, recipes, waves)
    check_times(request, now)
    check_way_back(session, project, request, clients)
    check_names(session, project, request, places_of(clients, environments))
    came_from = {client.from_version for client in clients}
    return Draft(
        project_id=project.id,
        project_name=project.name,
        version_id=version.id if version else None,
        version=version.version if version else None,
        operation=request.operation,
        environment="*" if request.environment == "*" else environments[0].name,
        client_ids=tuple(client.client_id for client in clients),
        selected_from_version=came_from.pop() if len(came_from) == 1 else None,
        skipped=skipped,
        strategy=strategy,
        plan=Plan(digest=digest_of(clients), waves=_waves(clients), clients=clients),
    )


def digest_of(clients: Sequence[PlannedClient]) -> str:
    """SHA-256 (hex) of the clients' canonical JSON: keys sorted, no spaces, UTF-8."""
    documents = [client.model_dump(mode="json") for client in clients]
    canonical = json.dumps(documents, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


def places_of(clients: Sequence[PlannedClient], environments: Sequence[Environment]) -> list[tuple[str, str]]:
    """Every environment (by name) and version that clients are brought to, once each, sorted."""
    names = {environment.id: environment.name for environment in environments}
    return sorted(
        {(names[one.environment_id], one.to_version) for one in clients if one.environment_id in names}
    )


def _project(session: Session, request: DeployTaskRequest) -> Project:
    project = find_project(session, request.project_id)
    if project is None:
        raise NotFoundError(f"there is no project {request.project_id!r}")
    return project


def _version(session: Session, project: Project, request: DeployTaskRequest) -> Version | None:
    if request.version_id is None and request.version is None:
        return None
    field = "version" if request.version is not None else "version_id"
    name = request.version or request.version_id
    version = _find_version(session, project, request)
    if version is None:
        raise PlanningError(f"project {project.name} has no version {name!r}", field)
    if version.status != "active" and request.operation != "uninstall":
        raise PlanningError(
            f"version {version.version} of {project.name} is {version.status}: only an active one is deployed",
            field,
        )
    return version


def _find_version(session: Session, project: Project, request: DeployTaskRequest) -> Version | None:
    if request.version is not None:
        return find_version(session, project.id, request.version)
    assert request.version_id is not None
    try:
        version = get_version(session, request.version_id)
    except RowNotFoundError:
        return None
    return version if version.project_id == project.id else None


def _wish(request: DeployTaskRequest, version: Version | None) -> Wish:
    return Wish(
        operation=request.operation,
        version=version.version if version else None,
        include_failed=request.include_failed,
        allow_downgrade=request.allow_downgrade,
        redeploy=request.redeploy,
        installs_too=not request.auto_select_clients and request.source_version is None,
        excluded=frozenset(request.exclude_client_ids),
    )


def _nobody_left(project: Project, request: DeployTaskRequest, skipped: Sequence[Skipped]) -> PlanningError:
    source = f" with version {request.source_version}" if request.source_version else ""
    reasons = sorted({(one.reason, sum(other.reason == one.reason for other in skipped)) for one in skipped})
    why = ", ".join(f"{count} {reason.replace('_', ' ')}" for reason, count in reasons)
    passed = f" (passed over: {why})" if why else ""
    return PlanningError(
        f"no client of {project.name}{source} is left to {request.operation}{passed}",
        "client_ids" if request.client_ids is not None else "source_version" if source else None,
    )


def _scripts(
    session: Session,
    project: Project,
    request: DeployTaskRequest,
    chosen: Sequence[Candidate],
    to_versions: Mapping[str, str],
) -> dict[str, ChosenScript]:
    names = {*to_versions.values(), *(candidate.installed for candidate in chosen if candidate.installed)}
    versions = versions_by_name(session, project.id, names)
    return {
        candidate.client_id: choose_script(
            project, candidate, request.operation, to_versions[candidate.client_id], versions
        )
        for candidate in chosen
    }


def _plan_clients(
    chosen: Sequence[Candidate],
    to_versions: Mapping[str, str],
    scripts: Mapping[str, ChosenScript],
    recipes: Mapping[str, str],
    waves: Sequence[Sequence[str]],
) -> tuple[PlannedClient, ...]:
    wave_of = {client_id: number for number, wave in enumerate(waves) for client_id in wave}
    return tuple(
        PlannedClient(
            client_id=candidate.client_id,
            target_id=candidate.target_id,
            environment_id=candidate.environment_id,
            wave=wave_of[candidate.client_id],
            from_version=candidate.installed,
            to_version=to_versions[candidate.client_id],
            version_id=scripts[candidate.client_id].version.id,
            script_field=scripts[candidate.client_id].field,
            script_sha256=scripts[candidate.client_id].sha256,
            recipe_sha256=recipes[candidate.client_id],
        )
        for candidate in chosen
    )


def _cut(
    chosen: Sequence[Candidate], strategy: Strategy, members: Sequence[Member]
) -> tuple[tuple[str, ...], ...]:
    """Into waves. Raises PlanningError where keeping the label's groups apart takes too many of them, or nobody has it."""
    places = {one.environment_id for one in chosen}
    there = [one for one in members if one.candidate.environment_id in places]
    groups = groups_of(there, strategy.spread_by)
    if strategy.spread_by is not None and not groups:
        raise PlanningError(
            f"no client or target there has the label {strategy.spread_by}: nobody would be kept apart",
            "strategy.spread_by",
        )
    largest = Counter(groups[one.client_id] for one in chosen if one.client_id in groups)
    if largest and max(largest.values()) > MAX_SPREAD:
        value, count = largest.most_common(1)[0]
        raise PlanningError(
            f"{count} clients have {strategy.spread_by}={value}: one a wave, that would be {count} waves "
            f"(at most {MAX_SPREAD})",
            "strategy.spread_by",
        )
    return cut_into_waves([one.client_id for one in chosen], strategy.sizes, groups)


def check_times(request: DeployTaskRequest, now: datetime) -> None:
    """Raises PlanningError where its time is over already."""
    if request.schedule_to is not None and request.schedule_to <= now:
        raise PlanningError("schedule_to is over", "schedule_to")


def _to_version(candidate: Candidate, request: DeployTaskRequest, version: Version | None) -> str:
    if request.operation == "uninstall":
        assert candidate.installed is not None
        return candidate.installed
    to_version = version.version if version else candidate.previous_version
    assert to_version is not None
    return to_version


def _waves(clients: Sequence[PlannedClient]) -> tuple[tuple[str, ...], ...]:
    count = max(client.wave for client in clients) + 1
    waves: list[list[str]] = [[] for _ in range(count)]
    for client in clients:
        waves[client.wave].append(client.client_id)
    return tuple(tuple(wave) for wave in waves)

"""One look at a client: its processes, what its version's probe answers, whether its checks pass."""

from agent.client import AgentApi
from agent.wire.executions import Execution, Operation
from agent.wire.processes import Collected, CollectRequest, Rule
from agent.wire.releases import CheckAnswer, CheckRequest
from db.models import utc_now
from tasks.decisions.evidence import Seen, Wanted
from tasks.work import ClientWork, Recipe


def wanted_of(work: ClientWork, operation: Operation, stable_for_s: float, execution: Execution) -> Wanted:
    """What has to be seen on the client before its version counts as proven."""
    evidence = work.recipe.evidence
    return Wanted(
        version=work.to_version,
        operation=operation,
        source=evidence.source,
        rules=tuple(rule.name for rule in _rules(work.recipe)),
        has_probe=evidence.version_probe is not None,
        has_checks=bool(evidence.checks),
        reload_in_place=evidence.reload_in_place,
        stable_for_s=stable_for_s,
        execution_started_at=execution.started_at,
    )


def _rules(recipe: Recipe) -> tuple[Rule, ...]:
    return recipe.process_config.rules if recipe.process_config else ()


async def look(api: AgentApi, project_id: str, work: ClientWork, operation: Operation) -> Seen:
    """What is there now; asks only for what the version says something about. Raises AgentError."""
    recipe = work.recipe
    collected, checked = Collected(), CheckAnswer(installed=False)
    if _rules(recipe):
        collected = await api.collect(CollectRequest(project_id=project_id, rules=_rules(recipe)))
    evidence = recipe.evidence
    if operation != "uninstall" and (evidence.version_probe or evidence.checks):
        checked = await api.check(
            CheckRequest(
                project_id=project_id,
                work_dir=recipe.work_dir,
                version_probe=evidence.version_probe,
                checks=evidence.checks,
                run_as=recipe.run_as,
            )
        )
    return Seen(
        at=utc_now(),
        boot_id=collected.boot_id,
        processes=collected.processes,
        unmatched_rules=collected.unmatched_rules,
        observed_version=checked.observed_version,
        probe_error=checked.probe_error,
        checks=checked.checks,
    )

"""`release.check` over HTTP."""

import asyncio

from agent.endpoints import Call, Endpoint
from agent.releases.checks import run_check
from agent.releases.errors import CannotAsk
from agent.releases.installed import Installations
from agent.releases.probe import probe_version
from agent.wire.releases import CheckAnswer, CheckRequest


def release_endpoints(installations: Installations) -> list[Endpoint]:
    """The release commands that run no script of a version's."""

    async def check(call: Call) -> CheckAnswer:
        return await answer_check(call.body, installations)

    return [
        Endpoint(
            method="POST",
            path="/v1/commands/release.check",
            name="release.check",
            summary="What is installed, which version answers, and whether the checks pass",
            request=CheckRequest,
            answer=CheckAnswer,
            handler=check,
        )
    ]


async def answer_check(request: CheckRequest, installations: Installations) -> CheckAnswer:
    """Ask the probe and every check at once; without a record an application that answers counts as installed."""
    (observed, error), results = await asyncio.gather(
        _observe(request),
        asyncio.gather(*(run_check(check, request.work_dir, request.run_as) for check in request.checks)),
    )
    recorded = await asyncio.to_thread(installations.get, request.project_id)
    return CheckAnswer(
        installed=recorded.version is not None if recorded else observed is not None,
        version=recorded.version if recorded else None,
        observed_version=observed,
        installed_at=recorded.installed_at if recorded else None,
        last_updated_at=recorded.last_updated_at if recorded else None,
        probe_error=error,
        checks=tuple(results),
    )


async def _observe(request: CheckRequest) -> tuple[str | None, str | None]:
    if request.version_probe is None:
        return None, None
    try:
        return await probe_version(request.version_probe, request.work_dir, request.run_as), None
    except CannotAsk as error:
        return None, str(error)

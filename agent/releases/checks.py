"""A version's checks: an HTTP answer, an open TCP port, a command that exits 0."""

import asyncio

from agent.patterns import search
from agent.processes.masking import mask_arguments
from agent.releases.commands import run_command
from agent.releases.errors import CannotAsk
from agent.releases.fetching import fetch
from agent.releases.identity import identity_of
from agent.wire.releases import Check, CheckResult

_SEARCHED_CHARACTERS = 64 * 1024
_DETAIL_CHARACTERS = 500
_SUBJECT_CHARACTERS = 200


async def run_check(check: Check, work_dir: str, run_as: str | None) -> CheckResult:
    """Run one check; whatever goes wrong is its result."""
    try:
        passed, detail = await _outcome(check, work_dir, run_as)
    except CannotAsk as error:
        passed, detail = False, str(error)
    return CheckResult(
        type=check.type, subject=subject_of(check), passed=passed, detail=detail[:_DETAIL_CHARACTERS]
    )


def subject_of(check: Check) -> str:
    """What is checked, in words that show no password."""
    if check.type == "tcp":
        return f"{check.host}:{check.port}"
    return mask_arguments([str(check.url or check.command)])[0][:_SUBJECT_CHARACTERS]


async def _outcome(check: Check, work_dir: str, run_as: str | None) -> tuple[bool, str]:
    if check.type == "http":
        return await _http(check)
    if check.type == "tcp":
        return await _tcp(check.host, check.port or 0, check.timeout_s)
    return await _command(check, work_dir, run_as)


async def _http(check: Check) -> tuple[bool, str]:
    answer = await fetch(str(check.url), check.timeout_s)
    if answer.status != check.status:
        return False, f"answered {answer.status}, wanted {check.status}"
    if check.pattern and search(check.pattern, answer.body[:_SEARCHED_CHARACTERS]) is None:
        return False, f"answered {answer.status}, but the body does not match the pattern"
    return True, f"answered {answer.status}"


async def _tcp(host: str, port: int, timeout_s: float) -> tuple[bool, str]:
    try:
        async with asyncio.timeout(timeout_s):
            _, writer = await asyncio.open_connection(host, port)
    except TimeoutError:
        return False, f"no connection within {timeout_s:g} s"
    except (OSError, UnicodeError) as error:
        return False, f"no connection: {error}"
    writer.close()
    return True, "connected"


async def _command(check: Check, work_dir: str, run_as: str | None) -> tuple[bool, str]:
    done = await run_command(
        check.command or "", work_dir=work_dir, identity=identity_of(run_as), timeout_s=check.timeout_s
    )
    last = (done.stderr or done.stdout).strip().rpartition("\n")[2]
    detail = f"exited with {done.exit_code}" + (f": {mask_arguments([last])[0]}" if last else "")
    if done.exit_code != 0:
        return False, detail
    if check.pattern and search(check.pattern, done.stdout[:_SEARCHED_CHARACTERS]) is None:
        return False, "exited with 0, but the output does not match the pattern"
    return True, detail

"""Sends one report to the release API: POST {api_url}/release/process-report, …/container-report, …/pod-report."""

import ssl
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path

import httpx
from pydantic import ValidationError

from agent.monitors.errors import PermanentReportError, TransientReportError
from agent.monitors.spool import CONTAINERS, PODS
from agent.pem import loading
from agent.settings import PREFIX
from agent.wire.problems import Problem

_PROCESSES = "/release/process-report"
_OTHERS = {CONTAINERS: "/release/container-report", PODS: "/release/pod-report"}
"""By stream; every other one is a project's."""
_TIMEOUT_S = 20.0
_KEEP_STATUSES = (401, 403, 404, 408, 421, 429)
"""Refusals that pass even where the release API says so itself: credentials that are being rotated, what is yet to be registered,
a name that it is yet to be told of, and "later, please". Any other 4xx of its own is for good; a proxy's is an API that is away."""
_PROJECT_STATUSES = (403, 404)
"""Of these, the ones that say something about one stream alone: its project is not there yet, or the client is none of its targets.
Where the release API says so itself."""
_OF_ALL_STATUSES = (405, 410)
"""What another server than the release API answers to everything. Its other 4xx may be about one report alone (413: too large for
a proxy): its stream waits, and no other one behind it."""
_REASON_CHARACTERS = 300


class ReportSender:
    """Holds one connection to the release API. Closed with `aclose`."""

    def __init__(
        self,
        api_url: str,
        api_token: str | None,
        api_ca: Path | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """`api_ca`: a file of certificates to trust instead of the system's. Raises SettingsError when it can't be used.

        `now`: the clock that reports are made by.
        """
        headers = {"Content-Type": "application/json"}
        if api_token:
            headers["Authorization"] = f"Bearer {api_token}"
        self._url = api_url.rstrip("/")
        self._now = now
        self._client = httpx.AsyncClient(
            headers=headers,
            verify=_trust(api_url, api_ca),
            timeout=_TIMEOUT_S,
            follow_redirects=False,
            trust_env=False,
            limits=httpx.Limits(max_connections=2, keepalive_expiry=120),
        )

    async def send(self, stream: str, body: bytes) -> None:
        """Deliver one report of that stream; raises TransientReportError or PermanentReportError.

        With what this host's clock says now: where that is off, the release API puts the report's time right.
        """
        url = self._url + _OTHERS.get(stream, _PROCESSES)
        clock = {"Date": format_datetime(self._now(), usegmt=True)}
        try:
            response = await self._client.post(url, content=body, headers=clock)
        except httpx.HTTPError as error:
            raise TransientReportError(
                f"cannot reach the release API: {type(error).__name__}: {error}"[:_REASON_CHARACTERS]
            ) from error
        status = response.status_code
        if response.is_success:
            return
        detail = _detail(response)
        reason = f"cannot deliver the report: the release API answered {status}{detail}"
        by_the_api = bool(detail)
        if by_the_api and 400 <= status < 500 and status not in _KEEP_STATUSES:
            raise PermanentReportError(reason[:_REASON_CHARACTERS])
        is_of_the_report = (
            400 <= status < 500 and status not in _KEEP_STATUSES and status not in _OF_ALL_STATUSES
        )
        of_its_project = is_of_the_report or (by_the_api and status in _PROJECT_STATUSES)
        raise TransientReportError(reason[:_REASON_CHARACTERS], of_its_project=of_its_project)

    async def aclose(self) -> None:
        """Close the connection."""
        await self._client.aclose()


def _trust(api_url: str, api_ca: Path | None) -> ssl.SSLContext | bool:
    if not api_url.startswith("https:"):
        return False
    with loading({f"{PREFIX}API_CA": api_ca}):
        return ssl.create_default_context(cafile=str(api_ca)) if api_ca else True


def _detail(response: httpx.Response) -> str:
    """What the release API says itself; empty where something else answered: its errors are problems (RFC 9457)."""
    try:
        return f": {Problem.model_validate_json(response.content).detail}"
    except ValidationError:
        return ""

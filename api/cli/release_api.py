"""The release API as the commands call it: paths in, JSON out, problems as errors with an exit code."""

import ssl
import time
import uuid
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import quote

from api.cli.cells import clean
from api.cli.errors import CliError, NotReached, Refused, WrongUsage
from api.cli.settings import PREFIX, Settings

if TYPE_CHECKING:
    import httpx  # a third of a second: `--help` does without it

PAUSES_S = (0.2, 1.0)
"""Between the attempts at a request whose connection failed."""

TIMEOUT_S = 60.0
PAGE = 1000


def path_of(*parts: str) -> str:
    """An address under /release, its parts quoted. Raises WrongUsage for a part that would be another address."""
    if any(part in ("", ".", "..") for part in parts):
        raise WrongUsage("a name must not be empty or dots alone")
    return "/release/" + "/".join(quote(part, safe="") for part in parts)


class ReleaseApi:
    """A caller of the release API; a context manager. Its token goes to that address alone: no proxy, no redirect."""

    def __init__(
        self,
        settings: Settings,
        sleep: Callable[[float], None] = time.sleep,
        patience_s: float = TIMEOUT_S,
    ) -> None:
        import httpx

        self._settings, self._sleep = settings, sleep
        self._http = httpx.Client(
            base_url=settings.url,
            headers={"Authorization": f"Bearer {settings.token}"},
            verify=_trust(settings),
            timeout=patience_s,
            trust_env=False,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def get(self, *path: str, **query: Any) -> Any:
        """GET. Raises Refused, NotReached."""
        return _document(self._send("GET", path_of(*path), params=_given(query)))

    def list(self, *path: str, limit: int | None = None, **query: Any) -> Iterator[dict[str, Any]]:
        """Every element of a list, page by page, at most `limit` of them."""
        left = limit
        query = _given(query)
        while left is None or left > 0:
            query["limit"] = PAGE if left is None else min(left, PAGE)
            answer = self._send("GET", path_of(*path), params=query)
            found = _document(answer)
            yield from found
            left = None if left is None else left - len(found)
            following = answer.links.get("next")
            if following is None:
                return
            # Of the next page's address only the cursor counts: the host that a proxy is known under may be another.
            query["cursor"] = answer.url.join(following["url"]).params["cursor"]

    def post(self, *path: str, body: dict[str, Any] | None = None) -> Any:
        """POST with an Idempotency-Key: however often it has to be sent, it is done once."""
        headers = {"Idempotency-Key": str(uuid.uuid4())}
        return _document(self._send("POST", path_of(*path), json=body, headers=headers))

    def patch(self, *path: str, body: dict[str, Any]) -> Any:
        """PATCH; sent again only where nothing was sent."""
        return _document(self._send("PATCH", path_of(*path), json=body))

    def delete(self, *path: str) -> None:
        """DELETE; sent again only where nothing was sent."""
        self._send("DELETE", path_of(*path))

    def _send(self, method: str, path: str, **arguments: Any) -> "httpx.Response":
        for pause_s in (*PAUSES_S, None):
            try:
                answer = self._attempt(method, path, **arguments)
            except NotReached as error:
                if pause_s is None or not isinstance(error, _WorthAnotherTry):
                    raise
            else:
                if pause_s is None or not _is_still_in_hand(answer):
                    self._raise_for(answer)
                    return answer
            self._sleep(pause_s)
        raise AssertionError("the last attempt answers or raises")

    def _attempt(self, method: str, path: str, **arguments: Any) -> "httpx.Response":
        import httpx

        try:
            request = self._http.build_request(method, path, **arguments)
        except ValueError:
            raise WrongUsage("cannot send the request: a number in it is not finite") from None
        try:
            return self._http.send(request)
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise self._not_reached(error, again="SSL" not in str(error)) from error
        except (httpx.NetworkError, httpx.RemoteProtocolError) as error:
            # It may have arrived: only what is done once however often it is sent is sent again.
            raise self._not_reached(error, again=method in ("GET", "POST")) from error
        except httpx.HTTPError as error:
            raise self._not_reached(error, again=False) from error

    def _not_reached(self, error: Exception, *, again: bool) -> NotReached:
        reason = clean(str(error)) or type(error).__name__
        kind = _WorthAnotherTry if again else NotReached
        return kind(
            f"cannot reach the release API at {self._settings.url}: {reason}",
            [f"{PREFIX}URL says where it is, {PREFIX}CA whose certificates to trust"],
        )

    def _raise_for(self, answer: "httpx.Response") -> None:
        if answer.is_success:
            return
        if answer.headers.get("content-type", "").split(";")[0] != "application/problem+json":
            raise NotReached(
                f"no release API answers at {self._settings.url}: it says {answer.status_code} without a problem document",
                [f"{PREFIX}URL says where it is"],
            )
        raise problem_error(answer.status_code, answer.json(), self._settings.token_source)


class _WorthAnotherTry(NotReached):
    """Nothing was done, or doing it again is the same."""


def problem_error(status: int, problem: dict[str, Any], token_source: str) -> CliError:
    """A problem document (RFC 9457) as an error: its sentence, and a line for each field that the sentence leaves out."""
    detail = str(problem.get("detail") or problem.get("title") or "no reason given")
    lines = [f"{one.get('field')}: {one.get('message')}" for one in problem.get("errors") or ()]
    details = [clean(line) for line in lines if line not in detail]
    if status in (401, 403):
        details.append(f"the token is the one of {token_source}")
    kind = NotReached if status >= 500 else Refused
    return kind(f"{clean(detail)} ({status})", details)


def _is_still_in_hand(answer: "httpx.Response") -> bool:
    """Whether the same POST, sent before over a connection that broke, is still being done."""
    return answer.status_code == 409 and "Idempotency-Key" in answer.text


def _document(answer: "httpx.Response") -> Any:
    try:
        return answer.json()
    except ValueError:
        raise NotReached(f"no release API answers at {answer.url.host}: its answer is not JSON") from None


def _given(query: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in query.items() if value is not None}


def _trust(settings: Settings) -> ssl.SSLContext | bool:
    if not settings.url.startswith("https:"):
        return False
    try:
        return ssl.create_default_context(cafile=str(settings.ca) if settings.ca else None)
    except (OSError, ssl.SSLError) as error:
        raise WrongUsage(
            f"cannot use {PREFIX}CA: {settings.ca} has no certificates that can be read"
        ) from error

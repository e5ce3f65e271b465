"""The release API as the demo and the e2e tests call it: names in, JSON out, a problem as an exception."""

from typing import Any

import httpx

from deployments.demo.errors import DemoError


class ApiProblem(DemoError):
    """The release API refused; `status` and `problem` are its answer."""

    def __init__(self, method: str, path: str, status: int, problem: dict[str, Any]) -> None:
        detail = problem.get("detail") or problem.get("title")
        super().__init__(f"{method} {path}: {status} {detail} {problem.get('errors') or ''}".strip())
        self.status = status
        self.problem = problem


class ReleaseApi:
    """One operator's view of `url`."""

    def __init__(self, url: str, token: str) -> None:
        self.url = url
        self._http = httpx.Client(base_url=url, headers={"Authorization": f"Bearer {token}"}, timeout=60)

    def get(self, path: str, **query: Any) -> Any:
        """GET /release`path`."""
        return self._call(
            "GET", path, params={name: value for name, value in query.items() if value is not None}
        )

    def post(self, path: str, **body: Any) -> Any:
        """POST /release`path`."""
        return self._call("POST", path, json=body)

    def patch(self, path: str, **body: Any) -> Any:
        """PATCH /release`path`."""
        return self._call("PATCH", path, json=body)

    def answers(self) -> bool:
        """Whether it is ready."""
        try:
            return self._http.get("/readyz").status_code in (200, 503)
        except httpx.TransportError:
            return False

    def close(self) -> None:
        """Close its connections."""
        self._http.close()

    def _call(self, method: str, path: str, **arguments: Any) -> Any:
        answer = self._http.request(method, f"/release{path}", **arguments)
        if answer.is_success:
            return answer.json() if answer.content else None
        try:
            problem = answer.json()
        except ValueError:
            problem = {"title": answer.text[:200]}
        raise ApiProblem(method, path, answer.status_code, problem)

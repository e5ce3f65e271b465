"""A release API that only takes reports: a real HTTP server, told what to answer, which can go away and come back."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

PREFIX = "/prefix"
PROCESSES, CONTAINERS, PODS = "process-report", "container-report", "pod-report"


def problem(detail: str) -> bytes:
    """What the release API says where it refuses."""
    return json.dumps({"title": "Refused", "status": 400, "detail": detail}).encode()


class ReleaseApi:
    """Answers reports with `status`, or what `statuses` has for their kind, and keeps those that it accepts."""

    def __init__(self) -> None:
        self.status = 202
        self.statuses: dict[str, int] = {}
        self.answer = problem("told why")
        self.reports: list[dict[str, Any]] = []
        self.container_reports: list[dict[str, Any]] = []
        self.pod_reports: list[dict[str, Any]] = []
        self.tokens: list[str | None] = []
        self.dates: list[str | None] = []
        self.port = 0
        self._server: Any = None

    @property
    def url(self) -> str:
        """Where an agent reports to."""
        return f"http://127.0.0.1:{self.port}{PREFIX}"

    def start(self) -> None:
        """Listen, at the same port as before."""
        api = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                api.dates.append(self.headers["Date"])
                status = api.take(self.path, self.headers["Authorization"], body)
                self.send_response(status)
                self.send_header("Content-Length", str(len(api.answer)))
                self.send_header("Connection", "close")
                self.end_headers()
                self.wfile.write(api.answer)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def take(self, path: str, token: str | None, body: bytes) -> int:
        """Keep the report where it is accepted; the status of the answer."""
        self.tokens.append(token)
        kinds = {
            f"{PREFIX}/release/{PROCESSES}": self.reports,
            f"{PREFIX}/release/{CONTAINERS}": self.container_reports,
            f"{PREFIX}/release/{PODS}": self.pod_reports,
        }
        status = self.statuses.get(path.rpartition("/")[2], self.status)
        if status < 300 and path in kinds:
            kinds[path].append(json.loads(body))
        return status

    def stop(self) -> None:
        """Nothing listens any more."""
        if self._server:
            self._server.shutdown()
            self._server.server_close()
            self._server = None


@pytest.fixture
def api() -> Iterator[ReleaseApi]:
    """One that runs."""
    api = ReleaseApi()
    api.start()
    yield api
    api.stop()

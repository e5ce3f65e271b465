"""The release API on a real port, in a thread, for tests: with an operator's, a viewer's and agents' clients."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta

import httpx
import uvicorn
from cryptography.fernet import Fernet

from api.app import build_app
from api.auth import named_tokens
from api.flow_runs import FlowRuns
from api.ingest.writing import Ingest
from api.parts import Parts
from api.settings import ApiSettings
from db.secrets import SecretBox
from db.session import Database

OPERATOR = "operator-token-of-the-tests"
VIEWER = "viewer-token-of-the-tests"
SECRET_KEY = Fernet.generate_key().decode()


def closed_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@dataclass
class ServedApi:
    """Where it is, and clients of it."""

    url: str
    database: Database
    parts: Parts
    _clients: list[httpx.Client] = field(default_factory=list)

    def client(self, token: str | None, **headers: str) -> httpx.Client:
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        client = httpx.Client(base_url=self.url, headers=headers, timeout=60, trust_env=False)
        self._clients.append(client)
        return client

    @property
    def operator(self) -> httpx.Client:
        return self.client(OPERATOR)

    @property
    def viewer(self) -> httpx.Client:
        return self.client(VIEWER)

    def close(self) -> None:
        for client in self._clients:
            client.close()


def make_parts(database: Database, **settings) -> Parts:
    """Parts with fixed tokens and a Prefect server that isn't there."""
    settings.setdefault("prefect_url", f"http://127.0.0.1:{closed_port()}/api")
    chosen = ApiSettings(operator_token=OPERATOR, viewer_token=VIEWER, **settings)
    return Parts(chosen, database, SecretBox(SECRET_KEY), FlowRuns(chosen))


@contextmanager
def serve_api(database: Database, judge_processes=None, **settings) -> Iterator[ServedApi]:
    """Serve until the block ends. `judge_processes`: instead of the one that there is."""
    parts = make_parts(database, **settings)
    ingest = None
    if judge_processes is not None:
        ingest = Ingest(database, timedelta(days=30), judge_processes, metrics=parts.metrics)
    app = build_app(parts, named_tokens(parts.settings), ingest)
    # With its protocol said, asyncio sends small answers at once (TCP_NODELAY), as on a port that uvicorn opens itself.
    listener = socket.socket(proto=socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    server = uvicorn.Server(
        uvicorn.Config(app, log_config=None, access_log=False, timeout_graceful_shutdown=5)
    )
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    deadline = time.monotonic() + 60
    while not server.started:
        assert thread.is_alive(), "the API did not start"
        assert time.monotonic() < deadline, "the API did not start in time"
        time.sleep(0.005)
    api = ServedApi(f"http://127.0.0.1:{listener.getsockname()[1]}", database, parts)
    try:
        yield api
    finally:
        api.close()
        server.should_exit = True
        thread.join(timeout=60)
        listener.close()
        assert not thread.is_alive(), "the API did not end"


def assert_problem(
    answer: httpx.Response, status: int, *, mentions: str = "", field: str | None = None
) -> dict:
    """The answer is a problem of that status; answers its document."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["status"] == status
    assert problem["title"]
    assert mentions in problem["detail"], problem
    if field is not None:
        assert field in [error["field"] for error in problem["errors"]], problem
    return problem

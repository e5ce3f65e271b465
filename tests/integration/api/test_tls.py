"""The release API with a certificate of its own, as a process, and agents that do and don't trust it."""

import os
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.agents import ROOT, AgentProcess, free_port
from tests.certificates import Authority
from tests.real_processes import wait_until
from tests.served_api import OPERATOR

CONFIG = {"rules": [{"type": "name", "pattern": "*", "name": "all"}], "collect_interval": 3600}


class TlsApi:
    """`python -m api` at https://localhost, with what `authority` signed."""

    def __init__(self, folder: Path, authority: Authority) -> None:
        self.port, self.authority = free_port(), authority
        self.url = f"https://localhost:{self.port}"
        certificate, key = authority.issue("release-api", "localhost")
        environ = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ} | {
            "PYTHONPATH": str(ROOT),
            "HOIST_DATABASE_URL": f"sqlite:///{folder / 'hoist.db'}",
            "HOIST_SECRET_KEY_FILE": str(folder / "secret.key"),
            "HOIST_API_PORT": str(self.port),
            "HOIST_API_OPERATOR_TOKEN": OPERATOR,
            "HOIST_API_TLS_CERT": str(certificate),
            "HOIST_API_TLS_KEY": str(key),
        }
        self.log = folder / "api.log"
        with self.log.open("wb") as log:
            argv = [sys.executable, "-m", "api"]
            self.process = subprocess.Popen(argv, env=environ, cwd=folder, stdout=log, stderr=log)
        self.http = httpx.Client(
            base_url=self.url,
            verify=ssl.create_default_context(cafile=str(authority.certificate)),
            headers={"Authorization": f"Bearer {OPERATOR}"},
            timeout=60,
            trust_env=False,
        )

    def answers(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()
        try:
            return self.http.get("/readyz").status_code == 200
        except httpx.ConnectError:
            return False

    def post(self, path: str, **body: object) -> dict:
        answer = self.http.post(f"/release{path}", json=body)
        assert answer.status_code in (200, 201), answer.text
        return answer.json()

    def close(self) -> None:
        self.http.close()
        self.process.terminate()
        assert self.process.wait(60) == 0, self.log.read_text()


@pytest.fixture
def api(tmp_path: Path) -> Iterator[TlsApi]:
    served = TlsApi(tmp_path, Authority(tmp_path, "authority"))
    try:
        wait_until(served.answers)
        yield served
    finally:
        served.close()


@pytest.fixture
def report_token(api: TlsApi) -> str:
    """Of web-1, which has shop 1.0."""
    project = api.post("/projects", name="shop", type="script")["id"]
    environment = api.post(f"/projects/{project}/environments", name="prod")["id"]
    token = api.post("/clients", client_id="web-1", url="http://127.0.0.1:4220")["report_token"]
    target = api.post(f"/environments/{environment}/targets", client_id="web-1", name="web-1", type="host")
    api.post(f"/projects/{project}/installations", target_id=target["id"], version="1.0")
    return token


@pytest.fixture
def start_agent(api: TlsApi, report_token: str, tmp_path: Path):
    """Start web-1's agent, always in the same state directory, trusting what `ca` is."""
    started = []

    def start(ca: Path | None) -> AgentProcess:
        settings = {"HOIST_AGENT_API_URL": api.url, "HOIST_AGENT_API_TOKEN": report_token}
        if ca is not None:
            settings["HOIST_AGENT_API_CA"] = str(ca)
        agent = AgentProcess(tmp_path, **settings)
        started.append(agent)
        return agent.start()

    yield start
    for agent in started:
        agent.close()


def watch(api: TlsApi, agent: AgentProcess) -> str:
    project = api.http.get("/release/projects/shop").json()["id"]
    body = {"version": "1.0", "release_id": "r", "process_config": CONFIG}
    assert agent.http.put(f"/v1/monitors/{project}", json=body).status_code == 200
    return f"/v1/monitors/{project}"


def reported(api: TlsApi) -> dict | None:
    (client,) = api.http.get("/release/projects/shop/processes").json()["clients"]
    return client if client["last_report"] else None


def test_agent_that_trusts_the_authority_reports(api: TlsApi, start_agent):
    agent = start_agent(api.authority.certificate)
    monitor = watch(api, agent)
    client = wait_until(lambda: reported(api))
    assert (client["client_id"], client["version"]) == ("web-1", "1.0")
    assert agent.process.pid not in {process["pid"] for process in client["processes"]}
    assert os.getpid() in {process["pid"] for process in client["processes"]}
    wait_until(lambda: agent.get(monitor)["spooled"] == 0)
    assert agent.get(monitor)["last_error"] is None


@pytest.mark.parametrize("trusts", ["another authority", "the system's authorities"])
def test_agent_that_does_not_trust_it_keeps_its_report_and_says_why(
    api: TlsApi, start_agent, tmp_path: Path, trusts: str
):
    (tmp_path / "other").mkdir()
    other = Authority(tmp_path / "other", "other").certificate if trusts == "another authority" else None
    agent = start_agent(other)
    monitor = watch(api, agent)
    error = wait_until(lambda: agent.get(monitor)["last_error"])
    assert "cannot reach the release API" in error
    assert "certificate verify failed" in error
    assert agent.get(monitor)["spooled"] == 1
    assert reported(api) is None
    agent.kill()
    agent = start_agent(api.authority.certificate)
    assert wait_until(lambda: reported(api))["version"] == "1.0"


def test_without_tls_nobody_is_answered(api: TlsApi):
    with httpx.Client(trust_env=False) as plain, pytest.raises(httpx.TransportError):
        plain.get(f"http://localhost:{api.port}/healthz")
    with httpx.Client(trust_env=False) as stranger, pytest.raises(httpx.ConnectError, match="certificate"):
        stranger.get(f"{api.url}/healthz")

"""TLS with client certificates: who has none is cut off, whose name is another's is refused."""

import asyncio
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from agent.client import AgentApi, agent_http_client
from agent.errors import PermanentAgentError, SettingsError, TransientAgentError
from agent.settings import AgentSettings
from agent.tls import server_context
from agent.transport import caller_tls
from tests.agents import TOKEN, AgentProcess
from tests.certificates import Authority
from tests.real_processes import wait_until


class TlsAgent(AgentProcess):
    def _answers(self) -> bool:
        return "listens" in (self.folder / "agent.log").read_text() and self._connects()

    def _connects(self) -> bool:
        try:
            self.http.get(f"https://localhost:{self.port}/healthz")
        except httpx.ConnectError as error:
            return "SSL" in str(error) or "certificate" in str(error)
        except httpx.TransportError:
            return True
        return True


@pytest.fixture
def tls(tmp_path: Path):
    authority = Authority(tmp_path, "authority")
    cert, key = authority.issue("agent-host", "localhost")
    settings = {"TLS_CERT": cert, "TLS_KEY": key, "TLS_CLIENT_CA": authority.certificate}
    agent = TlsAgent(tmp_path, **{f"HOIST_AGENT_{name}": str(path) for name, path in settings.items()})
    try:
        yield agent.start(), authority
    finally:
        agent.close()


def ask(agent: AgentProcess, authority: Authority, pair: tuple[Path, Path] | None):
    environ = {"HOIST_TLS_CA": str(authority.certificate)}
    if pair is not None:
        environ |= {"HOIST_TLS_CERT": str(pair[0]), "HOIST_TLS_KEY": str(pair[1])}

    async def info():
        async with agent_http_client(4, caller_tls(environ)) as http:
            return await AgentApi(http, f"https://localhost:{agent.port}", TOKEN).info()

    return asyncio.run(info())


def test_caller_with_the_right_name_is_answered_by_san_and_by_common_name(tls):
    agent, authority = tls
    assert ask(agent, authority, authority.issue("somebody", "hoist-control")).client_id == "web-1"
    assert ask(agent, authority, authority.issue("hoist-control", None)).client_id == "web-1"


def test_caller_with_another_name_is_refused_even_with_the_token(tls):
    agent, authority = tls
    for pair in (authority.issue("web-2", None), authority.issue("hoist-control", "web-2")):
        with pytest.raises(PermanentAgentError) as caught:
            ask(agent, authority, pair)
        assert caught.value.status == 403
        assert TOKEN not in str(caught.value)


def test_caller_without_a_certificate_or_of_another_authority_is_cut_off(tls, tmp_path: Path):
    agent, authority = tls
    (tmp_path / "other").mkdir()
    for pair in (None, Authority(tmp_path / "other", "other").issue("hoist-control", "hoist-control")):
        with pytest.raises(TransientAgentError):
            ask(agent, authority, pair)


def test_caller_that_does_not_know_the_agents_authority_does_not_speak_to_it(tls, tmp_path: Path):
    agent, authority = tls
    (tmp_path / "other").mkdir()
    other = Authority(tmp_path / "other", "other")
    pair = authority.issue("hoist-control", None)
    with pytest.raises(TransientAgentError) as caught:
        ask(agent, other, pair)
    assert caught.value.may_have_arrived is False


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"HOIST_AGENT_HOST": "0.0.0.0"}, "without TLS"),
        ({"HOIST_AGENT_TLS_CERT": "/nonexistent.pem"}, "go together"),
        (
            {"HOIST_AGENT_TLS_CERT": "/nonexistent.pem", "HOIST_AGENT_TLS_KEY": "/nonexistent.key"},
            "TLS_CERT:",
        ),
        ({"HOIST_AGENT_API_URL": "https://h.example", "HOIST_AGENT_API_CA": "/nope"}, "HOIST_AGENT_API_CA"),
        ({"HOIST_AGENT_PORT": "many"}, "HOIST_AGENT_PORT"),
        ({"HOIST_AGENT_TOKEN": "short"}, "HOIST_AGENT_TOKEN"),
        ({"HOIST_AGENT_CLIENT_ID": "-x"}, "HOIST_AGENT_CLIENT_ID"),
    ],
)
def test_agent_refuses_to_start_with_one_clear_line(tmp_path: Path, settings: dict, said: str):
    agent = AgentProcess(tmp_path)
    done = subprocess.run(
        [sys.executable, "-m", "agent"],
        env=agent.environment | settings,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    agent.http.close()
    assert done.returncode == 2
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert settings.get("HOIST_AGENT_TOKEN", "nothing-like-it") not in done.stderr


def test_agent_beyond_loopback_without_tls_starts_only_when_told_loudly(tmp_path: Path):
    agent = AgentProcess(tmp_path, HOIST_AGENT_HOST="0.0.0.0", HOIST_AGENT_INSECURE_HTTP="1")
    try:
        agent.start()
        wait_until(lambda: "in the clear" in (tmp_path / "agent.log").read_text())
    finally:
        agent.close()


def test_caller_without_tls_settings_uses_the_machines_authorities():
    assert caller_tls({}) is None


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    """An authority, a pair that it signed, the key of another pair, and files that are of no use."""
    authority = Authority(tmp_path, "authority")
    cert, key = authority.issue("one", "localhost")
    garbage = tmp_path / "garbage.pem"
    garbage.write_text("nothing in PEM")
    other = authority.issue("other", "localhost")[1]
    found = {"ca": authority.certificate, "cert": cert, "key": key, "other": other, "garbage": garbage}
    return found | {"nope": Path("/nope")}


WRONG_CALLERS = [
    ({"CA": "nope"}, "cannot use HOIST_TLS_CA: cannot read /nope: No such file or directory"),
    ({"CA": "garbage"}, "cannot use HOIST_TLS_CA: "),
    ({"CERT": "nope", "KEY": "key"}, "cannot use HOIST_TLS_CERT: cannot read /nope"),
    ({"CERT": "cert", "KEY": "nope"}, "cannot use HOIST_TLS_KEY: cannot read /nope"),
    ({"CERT": "cert", "KEY": "other"}, "cannot use HOIST_TLS_CERT and HOIST_TLS_KEY: "),
    ({"CERT": "cert"}, "cannot use HOIST_TLS_CERT: "),
    ({"KEY": "key"}, "cannot use HOIST_TLS_KEY: HOIST_TLS_CERT is missing"),
]


@pytest.mark.parametrize(("settings", "said"), WRONG_CALLERS)
def test_callers_file_that_can_not_be_used_is_named_by_its_setting(files, settings, said: str):
    with pytest.raises(SettingsError) as caught:
        caller_tls({f"HOIST_TLS_{name}": str(files[file]) for name, file in settings.items()})
    assert str(caught.value).startswith(said)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"cert": "nope"}, "cannot use HOIST_AGENT_TLS_CERT: cannot read /nope"),
        ({"key": "nope"}, "cannot use HOIST_AGENT_TLS_KEY: cannot read /nope"),
        ({"key": "other"}, "cannot use HOIST_AGENT_TLS_CERT and HOIST_AGENT_TLS_KEY: "),
        ({"client_ca": "nope"}, "cannot use HOIST_AGENT_TLS_CLIENT_CA: cannot read /nope"),
        ({"client_ca": "garbage"}, "cannot use HOIST_AGENT_TLS_CLIENT_CA: "),
    ],
)
def test_agents_own_file_that_can_not_be_used_is_named_by_its_setting(files, tmp_path, settings, said: str):
    chosen = {"cert": "cert", "key": "key", "client_ca": "ca"} | settings
    tls = {f"tls_{name}": files[file] for name, file in chosen.items()}
    with pytest.raises(SettingsError) as caught:
        server_context(AgentSettings(client_id="web-1", state_dir=tmp_path, token=TOKEN, **tls))
    assert str(caught.value).startswith(said)

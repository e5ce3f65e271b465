"""Settings that would leave the agent unreachable, or its tokens in the open, keep it from starting."""

from pathlib import Path

import pytest

from agent.containers.engine import Engine
from agent.containers.errors import EngineUnavailable
from agent.errors import SettingsError
from agent.settings import AgentSettings

TOKEN = "agent-token-for-tests"


def read(folder: Path, **settings: str) -> AgentSettings:
    own = {"STATE_DIR": str(folder / "state"), "CLIENT_ID": "web-1", "TOKEN": TOKEN}
    return AgentSettings.from_env({f"HOIST_AGENT_{name}": text for name, text in {**own, **settings}.items()})


@pytest.mark.parametrize("name", ["TOKEN", "API_TOKEN"])
@pytest.mark.parametrize(
    "kept",
    ["a secret of sixteen", "secret\nof-sixteen-characters", "sécret-of-sixteen-", "secret-of-sixteen-\x7f"],
)
def test_token_that_no_header_can_carry_is_refused_without_being_shown(tmp_path: Path, name: str, kept: str):
    with pytest.raises(SettingsError, match=f"HOIST_AGENT_{name}:") as caught:
        read(tmp_path, **{name: kept})
    assert "cret" not in str(caught.value)


def test_newline_after_a_token_is_no_part_of_it(tmp_path: Path):
    settings = read(tmp_path, TOKEN=TOKEN + "\n", API_TOKEN="abc\r\n")
    assert (settings.token, settings.api_token) == (TOKEN, "abc")


@pytest.mark.parametrize(
    "url",
    [
        "https://hoist.example",
        "https://hoist.example:4210/prefix/",
        "http://127.0.0.1:4210",
        "http://localhost:4210",
        "http://[::1]:4210",
    ],
)
def test_release_api_behind_tls_or_on_this_machine_is_fine(tmp_path: Path, url: str):
    assert read(tmp_path, API_URL=url).api_url == url


@pytest.mark.parametrize(
    "url",
    [
        "hoist.example",
        "hoist.example:4210",
        "ftp://hoist.example",
        "https://",
        "https://[::1",
        "https://hoist.example:x",
        "https://hoist.example:99999",
        "https://hoist example",
        "https://user:secret@hoist.example",
        "https://hoist.example?token=secret",
        "http://hoist.example",
        "http://10.0.0.1:4210",
    ],
)
def test_other_addresses_of_a_release_api_are_refused(tmp_path: Path, url: str):
    with pytest.raises(SettingsError, match="HOIST_AGENT_API_URL") as caught:
        read(tmp_path, API_URL=url)
    assert "secret" not in str(caught.value)


def test_release_api_in_the_clear_must_be_asked_for(tmp_path: Path):
    assert read(tmp_path, API_URL="http://hoist.example", INSECURE_HTTP="1").insecure_http


def test_token_is_made_once_whole_and_nothing_else_is_left(tmp_path: Path):
    first = read(tmp_path, TOKEN="")
    file = tmp_path / "state" / "token"
    assert file.read_text() == first.token + "\n"
    assert file.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in file.parent.iterdir()] == ["token"]
    assert read(tmp_path, TOKEN="").token == first.token


def test_crash_before_the_token_is_whole_leaves_none(tmp_path: Path):
    state = tmp_path / "state"
    state.mkdir()
    (state / ".token.4711").write_text("")
    assert len(read(tmp_path, TOKEN="").token) >= 32


@pytest.mark.parametrize("kept", ["", "\n", "two words of sixteen", "\x00" * 20])
def test_unusable_token_file_is_named(tmp_path: Path, kept: str):
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "token").write_text(kept)
    with pytest.raises(SettingsError, match="state/token"):
        read(tmp_path, TOKEN="")


def test_engine_of_the_agents_own_setting_comes_before_the_hosts(tmp_path: Path):
    assert read(tmp_path).docker_host is None
    host = {"HOIST_AGENT_STATE_DIR": str(tmp_path / "state"), "HOIST_AGENT_TOKEN": TOKEN}
    host |= {"HOIST_AGENT_CLIENT_ID": "web-1", "DOCKER_HOST": "ssh://somewhere"}
    # Not ours to judge, and an agent that deploys scripts alone has no need of it.
    assert AgentSettings.from_env(host).docker_host == "ssh://somewhere"
    own = AgentSettings.from_env({**host, "HOIST_AGENT_DOCKER_HOST": "unix:///run/docker.sock"})
    assert own.docker_host == "unix:///run/docker.sock"


@pytest.mark.parametrize("host", ["/run/docker.sock", "ssh://host", "unix://relative.sock", "fd://"])
def test_engine_that_can_not_be_reached_like_that_is_refused(tmp_path: Path, host: str):
    with pytest.raises(SettingsError, match="HOIST_AGENT_DOCKER_HOST"):
        read(tmp_path, DOCKER_HOST=host)


def test_engine_named_by_a_way_that_the_agent_does_not_know_is_unavailable():
    with pytest.raises(EngineUnavailable, match="ssh"), Engine("ssh://somewhere").api():
        pass
    assert Engine("ssh://somewhere").version() is None

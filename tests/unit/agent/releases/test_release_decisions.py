from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.releases.checks import subject_of
from agent.releases.errors import CannotAsk
from agent.releases.identity import identity_of, safe_environment
from agent.releases.installed import Installation, next_installation
from agent.releases.probe import find_version
from agent.wire.releases import Check

T0 = datetime(2026, 1, 1, tzinfo=UTC)
T1 = T0 + timedelta(days=1)


@pytest.mark.parametrize("operation", ["update", "deploy", "rollback"])
def test_update_keeps_the_time_of_the_first_installation(operation):
    before = Installation("1.0", T0, T0)
    assert next_installation(before, operation, "2.0", T1) == Installation("2.0", T0, T1)


@pytest.mark.parametrize("operation", ["install", "update", "deploy", "rollback"])
def test_first_success_installs(operation):
    assert next_installation(None, operation, "1.0", T1) == Installation("1.0", T1, T1)


def test_uninstall_leaves_no_version_and_an_installation_afterwards_is_new():
    gone = next_installation(Installation("1.0", T0, T0), "uninstall", "1.0", T1)
    assert gone == Installation(None, None, T1)
    assert next_installation(gone, "update", "2.0", T1).installed_at == T1


@pytest.mark.parametrize(
    ("text", "pattern", "version"),
    [
        (" 1.2.3\n", None, "1.2.3"),
        ('{"datasette": {"version": "0.65.5"}}', r'"version":\s*"([^"]+)"', "0.65.5"),
        ("nginx/1.2", r"\d+\.\d+", "1.2"),
        ("1.0\x00", None, "1.0"),
    ],
)
def test_version_is_found(text, pattern, version):
    assert find_version(text, pattern) == version


@pytest.mark.parametrize(
    ("text", "pattern", "reason"),
    [
        ("", None, "names no version"),
        ("x" * 101, None, "needs a pattern"),
        ("x", "y", "does not match"),
        ("a", "a(b)?", "names no"),
    ],
)
def test_no_version_says_why(text, pattern, reason):
    with pytest.raises(CannotAsk, match=reason):
        find_version(text, pattern)


@given(
    st.dictionaries(
        st.sampled_from(["PATH", "HOME", "HOIST_AGENT_TOKEN", "TZ", "AWS_SECRET_ACCESS_KEY"]), st.text()
    )
)
def test_only_the_safe_part_of_the_environment_is_passed_on(environ):
    safe = safe_environment(environ)
    assert set(safe) <= {"PATH", "HOME", "TZ"}
    assert "PATH" in safe


def test_unknown_user_is_told():
    with pytest.raises(CannotAsk, match="no such user"):
        identity_of("no-such-user-here")


def test_subject_shows_no_password():
    assert subject_of(Check(type="http", url="http://me:hunter2@127.0.0.1/x")) == "http://me:***@127.0.0.1/x"
    assert subject_of(Check(type="command", command="check --token hunter2")) == "check --token ***"
    assert subject_of(Check(type="tcp", port=80)) == "127.0.0.1:80"

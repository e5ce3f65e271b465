import string
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.processes.masking import mask_arguments, shown_cmdline

SECRETS = st.text(
    alphabet=string.ascii_letters + string.digits + "!#%+,.:;@^_~-", min_size=1, max_size=40
).map("Zq".__add__)
OPTIONS = st.sampled_from(
    ["--password", "--db-password", "-token", "--api-key", "--client_secret", "--Secret-Key"]
)
NAMES = st.sampled_from(
    ["PASSWORD", "PGPASSWORD", "api_key", "SECRET", "X_TOKEN_2", "spring.datasource.password"]
)


@given(OPTIONS, SECRETS)
def test_value_after_option_is_masked(option, secret):
    assert mask_arguments(["app", option, secret, "--port", "80"]) == ["app", option, "***", "--port", "80"]


@given(OPTIONS, SECRETS)
def test_value_of_option_with_equals_sign_is_masked(option, secret):
    assert mask_arguments(["app", f"{option}={secret} {secret}"]) == ["app", f"{option}=***"]


@given(NAMES, SECRETS)
def test_assigned_value_is_masked(name, secret):
    assert secret not in shown_cmdline(f"env\0{name}={secret}\0app\0".encode())


@given(NAMES, SECRETS)
def test_value_inside_a_shell_command_is_masked(name, secret):
    shown = shown_cmdline(
        f"sh\0-c\0cd /srv && {name}={secret} app --verbose --token {secret} --port 80\0".encode()
    )
    assert secret not in shown
    assert shown.endswith("--port 80")


@given(SECRETS)
def test_password_in_url_is_masked(secret):
    assert (
        shown_cmdline(f"app\0postgresql://shop:{secret}@db/shop\0".encode())
        == "app postgresql://shop:***@db/shop"
    )


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["curl", "-H", "Authorization: Bearer abc"], "curl -H Authorization: Bearer ***"),
        (["app", '{"password": "a b"}'], 'app {"password": ***}'),
        (["login", "password", "hunter2"], "login password ***"),
        (["app", "--password", ""], "app --password"),
        (["uvicorn", "token_service:app", "--port", "80"], "uvicorn token_service:app --port 80"),
        (["ssh", "git@host"], "ssh git@host"),
        (["app", "--set=auth.password=a b"], "app --set=auth.password=***"),
    ],
)
def test_examples(arguments, expected):
    assert shown_cmdline("\0".join(arguments).encode() + b"\0") == expected


@pytest.mark.parametrize(
    "arguments",
    [
        ["--apikey:hunter2"],
        ["/password:hunter2"],
        ["--pass", "hunter2"],
        ["--jwt", "hunter2"],
        ["--pass=hunter2"],
    ],
)
def test_other_ways_to_give_a_secret(arguments):
    assert "hunter2" not in " ".join(mask_arguments(arguments))


def test_secret_is_masked_before_the_cut():
    raw = b"app\0" + b"x" * 4080 + b"\0--password\0hunter2hunter2\0"
    shown = shown_cmdline(raw)
    assert len(shown.encode()) <= 4096
    assert "hunter" not in shown


@given(st.binary(max_size=300))
def test_anything_is_shown_within_the_limit(raw):
    assert len(shown_cmdline(raw * 20).encode()) <= 4096


@pytest.mark.parametrize(
    "unit",
    [
        "key",
        "key=",
        "-key ",
        "a",
        "://",
        "://:",
        "://a:",
        "-a-",
        "token:",
        "'",
        "password ' ",
        "://@ ",
        "@://a:",
    ],
)
def test_masking_100_kb_of_anything_is_linear(unit):
    began = time.process_time()
    shown_cmdline((unit * 100_000)[:100_000].encode())
    assert time.process_time() - began < 3, "squared, it would take ten seconds and more"

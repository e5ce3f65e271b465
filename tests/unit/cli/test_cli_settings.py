"""Where the API is and who asks, from the environment; no value is ever echoed."""

import pytest

from api.cli.errors import WrongUsage
from api.cli.settings import Settings

SECRET = "s3cret-token-of-the-test"


def test_defaults_are_this_machines_api_and_its_operators_token(tmp_path):
    (tmp_path / ".hoist").mkdir()
    (tmp_path / ".hoist/operator.token").write_text(f"{SECRET}\n")
    settings = Settings.from_env({"HOME": str(tmp_path)})
    assert (settings.url, settings.token, settings.ca) == ("http://127.0.0.1:4210", SECRET, None)
    assert settings.token_source == str(tmp_path / ".hoist/operator.token")
    assert SECRET not in repr(settings)


def test_token_and_ca_are_named(tmp_path):
    (tmp_path / "token").write_text(SECRET)
    from_file = Settings.from_env(
        {"HOIST_API_TOKEN_FILE": str(tmp_path / "token"), "HOIST_API_CA": "/ca.pem"}
    )
    assert (from_file.token, str(from_file.ca)) == (SECRET, "/ca.pem")
    named = Settings.from_env({"HOIST_API_TOKEN": SECRET, "HOIST_API_URL": "https://api.example/prefix/"})
    assert (named.token, named.url) == (SECRET, "https://api.example/prefix")


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:1", "http://[::1]:1", "http://localhost:1", "https://api.example"]
)
def test_urls_that_are_safe(url):
    assert Settings.from_env({"HOIST_API_TOKEN": SECRET, "HOIST_API_URL": url}).url == url


@pytest.mark.parametrize(
    ("environ", "mentions"),
    [
        ({"HOIST_API_URL": "http://api.example:4210"}, "must be https"),
        ({"HOIST_API_URL": "ftp://api.example"}, "HOIST_API_URL"),
        ({"HOIST_API_URL": f"https://x:{SECRET}@api.example"}, "HOIST_API_URL"),
        ({"HOIST_API_URL": f"https://api.example?token={SECRET}"}, "HOIST_API_URL"),
        ({"HOIST_API_URL": "https://api.example:port"}, "HOIST_API_URL"),
        ({"HOIST_API_URL": "https://[::1"}, "HOIST_API_URL"),
        ({"HOIST_API_TOKEN_FILE": "/x"}, "set one of them"),
        ({"HOIST_API_TOKEN": f"{SECRET}\nX-Other: y"}, "has spaces"),
        ({"HOIST_API_TOKEN": f"{SECRET}é"}, "ASCII"),
        ({"HOIST_API_TOKEN": ""}, "cannot find a token"),
        ({"HOIST_API_TOKEN": "", "HOIST_API_TOKEN_FILE": "/"}, "IsADirectoryError"),
    ],
)
def test_what_is_refused_never_echoes_a_secret(tmp_path, environ, mentions):
    with pytest.raises(WrongUsage, match=mentions) as caught:
        Settings.from_env({"HOME": str(tmp_path), "HOIST_API_TOKEN": SECRET, **environ})
    assert SECRET not in str(caught.value)


def test_clear_text_beyond_this_machine_is_an_exception_that_is_asked_for():
    environ = {
        "HOIST_API_TOKEN": SECRET,
        "HOIST_API_URL": "http://api.example",
        "HOIST_API_INSECURE_HTTP": "1",
    }
    assert Settings.from_env(environ).url == "http://api.example"

import pytest

from api.auth import Principal, may, read_tokens_file
from api.errors import SettingsError
from api.settings import ApiSettings, check_tls_files
from db.secrets import sha256_hex
from tests.certificates import Authority

TLS = {"HOIST_API_TLS_CERT": "/c", "HOIST_API_TLS_KEY": "/k"}


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"HOIST_API_HOST": "localhost"},
        {"HOIST_API_HOST": "::1"},
        {"HOIST_API_HOST": "0.0.0.0", **TLS},
        {"HOIST_API_HOST": "0.0.0.0", "HOIST_API_INSECURE_HTTP": "1"},
        {"PREFECT_API_URL": "http://127.0.0.1:4200/api"},
        {"PREFECT_API_URL": "https://prefect.example/api", "PREFECT_API_AUTH_STRING": "a:b"},
    ],
)
def test_safe_settings_are_taken(environ):
    assert ApiSettings.from_env(environ).port == 4210


@pytest.mark.parametrize(
    "environ",
    [
        {"HOIST_API_HOST": "0.0.0.0"},
        {"HOIST_API_HOST": "::"},
        {"HOIST_API_HOST": "example.org"},
        {"HOIST_API_HOST": "0.0.0.0", "HOIST_API_INSECURE_HTTP": "yes"},
        {"HOIST_API_TLS_CERT": "/c"},
        {"HOIST_API_PORT": "70000"},
        {"HOIST_API_PORT": "-1"},
        {"HOIST_API_OPERATOR_TOKEN": "short"},
        {"HOIST_API_OPERATOR_TOKEN": "x" * 20, "HOIST_API_VIEWER_TOKEN": "x" * 20},
        {"PREFECT_API_URL": "http://prefect.example/api", "PREFECT_API_AUTH_STRING": "a:b"},
        {"PREFECT_API_URL": "https://prefect.example/api"},
        {"PREFECT_API_URL": "nonsense"},
        {"HOIST_API_REPORT_HISTORY_DAYS": "0"},
        {"HOIST_API_REPORT_HISTORY_DAYS": "3651"},
        {"HOIST_API_REPORT_HISTORY_DAYS": "1.5"},
    ],
)
def test_unsafe_settings_are_refused(environ):
    with pytest.raises(SettingsError, match="cannot"):
        ApiSettings.from_env(environ)


def test_certificate_that_can_not_be_served_with_is_named_by_its_setting(tmp_path):
    authority = Authority(tmp_path, "authority")
    (cert, key), (_, other) = authority.issue("one", None), authority.issue("other", None)
    check_tls_files(ApiSettings(tls_cert=cert, tls_key=key))
    for pair, said in {
        (tmp_path / "no.pem", key): "HOIST_API_TLS_CERT: cannot read .*no.pem: No such file",
        (cert, tmp_path): "HOIST_API_TLS_KEY: cannot read .*: Is a directory",
        (cert, other): "HOIST_API_TLS_CERT and HOIST_API_TLS_KEY: .*MISMATCH",
    }.items():
        with pytest.raises(SettingsError, match=f"^cannot use {said}"):
            check_tls_files(ApiSettings(tls_cert=pair[0], tls_key=pair[1]))


def test_history_is_kept_for_thirty_days_unless_told():
    assert ApiSettings.from_env({}).report_history_days == 30
    assert ApiSettings.from_env({"HOIST_API_REPORT_HISTORY_DAYS": "7"}).report_history_days == 7


def test_settings_never_show_tokens():
    settings = ApiSettings.from_env({"HOIST_API_OPERATOR_TOKEN": "very-secret-operator"})
    assert "very-secret" not in repr(settings)


@pytest.mark.parametrize("name", ["OPERATOR_TOKEN", "VIEWER_TOKEN"])
@pytest.mark.parametrize("bad", ["with blank", "t\tab", "umläut", "new\nline", "nul\0", "snowman\u2603"])
def test_token_that_no_header_can_carry_is_refused_without_being_shown(name, bad):
    with pytest.raises(SettingsError) as refused:
        ApiSettings.from_env({f"HOIST_API_{name}": f"0123456789abcdef{bad}"})
    said = str(refused.value)
    assert said.startswith(f"cannot use HOIST_API_{name}: ")
    assert "0123456789abcdef" not in said
    assert "\n" not in said


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_newline_at_the_end_is_no_part_of_a_token(end):
    operator, viewer = "0123456789abcdef", "fedcba9876543210"
    environ = {"HOIST_API_OPERATOR_TOKEN": operator + end, "HOIST_API_VIEWER_TOKEN": viewer + end}
    settings = ApiSettings.from_env(environ)
    assert (settings.operator_token, settings.viewer_token) == (operator, viewer)
    with pytest.raises(SettingsError, match="at least 16"):
        ApiSettings.from_env({"HOIST_API_OPERATOR_TOKEN": operator[:15] + end})


def test_tokens_file_is_read_by_line(tmp_path):
    path = tmp_path / "tokens"
    path.write_text(f"# people\n\nana operator {sha256_hex('a')}\nwall viewer {sha256_hex('b').upper()}\n")
    ana, wall = read_tokens_file(path)
    assert ana.principal == Principal("ana", "operator")
    assert wall.sha256 == sha256_hex("b")


@pytest.mark.parametrize("line", ["ana operator", "ana agent " + "0" * 64, "ana operator xyz", "a b c d"])
def test_wrong_line_is_named(tmp_path, line):
    path = tmp_path / "tokens"
    path.write_text(f"# first\n{line}\n")
    with pytest.raises(SettingsError, match="line 2"):
        read_tokens_file(path)


@pytest.mark.parametrize(
    ("role", "method", "path", "allowed"),
    [
        ("operator", "DELETE", "/release/projects/x", True),
        ("viewer", "GET", "/metrics", True),
        ("viewer", "POST", "/release/process-report", False),
        ("agent", "POST", "/release/process-report", True),
        ("agent", "GET", "/release/process-report", False),
        ("agent", "POST", "/release/process-report/", False),
        ("agent", "GET", "/release/projects", False),
    ],
)
def test_roles_may_do_what_is_theirs(role, method, path, allowed):
    assert may(Principal("x", role), method, path) is allowed

"""The connection: what is sent again and what is not, who is trusted, what is said where nobody answers."""

import http.server
import json
import threading
from contextlib import contextmanager

import httpx
import pytest

from api.cli.__main__ import main
from api.cli.errors import NotReached, Refused
from api.cli.release_api import ReleaseApi
from api.cli.settings import Settings
from tests.certificates import Authority
from tests.integration.api.test_tls import TlsApi
from tests.real_processes import wait_until
from tests.served_api import OPERATOR, VIEWER, closed_port


class Between(http.server.BaseHTTPRequestHandler):
    """Passes requests on to the release API, and breaks the connection instead of answering as often as it is told."""

    protocol_version = "HTTP/1.1"
    url = ""
    breaks = 0
    passes_on = True
    """Whether a request whose answer is broken off arrives."""
    seen: list

    def do_ANY(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.seen.append((self.command, self.path, self.headers.get("Idempotency-Key")))
        breaking = type(self).breaks > 0
        if self.passes_on or not breaking:
            headers = {
                name: value
                for name, value in self.headers.items()
                if name.lower() not in ("host", "connection")
            }
            answer = httpx.request(
                self.command, self.url + self.path, content=body, headers=headers, trust_env=False
            )
        if breaking:
            type(self).breaks -= 1
            self.close_connection = True
            self.connection.close()
            return
        self.send_response(answer.status_code)
        self.send_header("Content-Type", answer.headers.get("Content-Type", ""))
        self.send_header("Content-Length", str(len(answer.content)))
        self.end_headers()
        self.wfile.write(answer.content)

    do_GET = do_POST = do_PATCH = do_DELETE = do_ANY  # noqa: N815 - http.server's names

    def log_message(self, *_):
        pass

    def finish(self):
        try:
            super().finish()
        except (OSError, ValueError):
            return  # broken off by ourselves


@pytest.fixture
def between(served):
    handler = type("Handler", (Between,), {"url": served.url, "seen": []})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    handler.address = f"http://127.0.0.1:{server.server_port}"
    yield handler
    server.shutdown()
    thread.join()
    server.server_close()


@contextmanager
def calling(url, token=OPERATOR, ca=None):
    with ReleaseApi(Settings(url, token, "the test", ca), sleep=lambda _: None) as api:
        yield api


def test_creation_whose_answer_is_lost_is_sent_again_with_its_key_and_done_once(between, operator):
    between.breaks = 1
    with calling(between.address) as api:
        made = api.post("projects", body={"name": "shop", "type": "script"})
    assert [row["id"] for row in operator.get("/release/projects").json()] == [made["id"]]
    assert len(between.seen) == 2
    keys = {key for _, _, key in between.seen}
    assert len(keys) == 1
    assert None not in keys


def test_two_creations_have_two_keys(between):
    with calling(between.address) as api:
        for name in ("one", "two"):
            api.post("projects", body={"name": name, "type": "script"})
    assert len({key for _, _, key in between.seen}) == 2


def test_reading_is_sent_again(between):
    between.breaks = 2
    with calling(between.address) as api:
        assert list(api.list("projects")) == []
    assert len(between.seen) == 3


def test_it_gives_up_in_the_end(between):
    between.breaks = 9
    with calling(between.address) as api, pytest.raises(NotReached):
        api.get("projects")
    assert len(between.seen) == 3


@pytest.mark.parametrize(
    "change",
    [
        lambda api: api.patch("projects", "shop", body={"description": "x"}),
        lambda api: api.delete("projects", "shop"),
    ],
    ids=["patch", "delete"],
)
def test_change_and_deletion_are_not_sent_twice(between, operator, change):
    operator.post("/release/projects", json={"name": "shop", "type": "script"})
    between.breaks = 1
    with calling(between.address) as api, pytest.raises(NotReached):
        change(api)
    assert len(between.seen) == 1


def test_refusal_is_not_asked_again(between):
    with calling(between.address) as api, pytest.raises(Refused):
        api.post("projects", body={})
    assert len(between.seen) == 1


def test_nobody_there_is_4(hoist, monkeypatch):
    monkeypatch.setenv("HOIST_API_URL", f"http://127.0.0.1:{closed_port()}")
    ended = hoist("project", "list", code=4)
    assert "cannot reach the release API at http://127.0.0.1:" in ended.err
    assert "Connection refused" in ended.err
    assert "HOIST_API_URL" in ended.err


def test_somebody_else_there_is_4(hoist, monkeypatch, tmp_path):
    class Page(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200 if "projects" in self.path else 404)
            self.end_headers()
            self.wfile.write(b"<html>\x1b[2J")

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        monkeypatch.setenv("HOIST_API_URL", f"http://127.0.0.1:{server.server_port}")
        for arguments in (("project", "list"), ("client", "list")):
            ended = hoist(*arguments, code=4)
            assert "no release API answers" in ended.err
            assert "\x1b" not in ended.err
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_tokens_that_are_wrong_or_may_only_read_are_refused(served, hoist, monkeypatch, tmp_path):
    (tmp_path / "token").write_text("a-token-of-nobody-at-all")
    monkeypatch.delenv("HOIST_API_TOKEN")
    monkeypatch.setenv("HOIST_API_TOKEN_FILE", str(tmp_path / "token"))
    refused = hoist("project", "list", code=3)
    assert str(tmp_path / "token") in refused.err
    assert "a-token-of-nobody" not in refused.err
    (tmp_path / "token").write_text(VIEWER + "\n")
    assert hoist("project", "list", "--json").json == []
    assert "(403)" in hoist("project", "create", "x", "--type", "script", code=3).err
    monkeypatch.delenv("HOIST_API_TOKEN_FILE")
    assert "cannot find a token" in hoist("project", "list", code=2).err


def test_certificates(tmp_path, monkeypatch, capsys):
    authority = Authority(tmp_path, "authority")
    (tmp_path / "other").mkdir()
    api = TlsApi(tmp_path, authority)
    try:
        wait_until(api.answers)
        monkeypatch.setenv("HOIST_API_URL", api.url)
        monkeypatch.setenv("HOIST_API_TOKEN", OPERATOR)
        monkeypatch.setenv("HOIST_API_CA", str(authority.certificate))
        assert main(["project", "list", "--json"]) == 0
        assert json.loads(capsys.readouterr().out) == []
        monkeypatch.setenv("HOIST_API_CA", str(Authority(tmp_path / "other", "other").certificate))
        assert main(["project", "list"]) == 4
        assert "certificate verify failed" in capsys.readouterr().err.lower()
        monkeypatch.setenv("HOIST_API_CA", str(tmp_path / "none.pem"))
        assert main(["project", "list"]) == 2
        assert "HOIST_API_CA" in capsys.readouterr().err
    finally:
        api.close()

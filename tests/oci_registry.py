"""An image registry of the tests' own on loopback: one repository behind a password, whose blobs can dribble or break off.

Serves what a pull asks for: https://github.com/opencontainers/distribution-spec/blob/main/spec.md
"""

import base64
import gzip
import hashlib
import io
import json
import os
import tarfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal

from tests.docker_engine import application

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
SECOND_NS = 1_000_000_000
DRIBBLE_S = 0.1
PADDING = 100_000

Blobs = Literal["whole", "dribble", "break_off"]


class OciRegistry:
    """`user` and `password` are wanted for everything. `broken_off`: how many blobs the other side no longer took."""

    def __init__(self, user: str, password: str, repository: str = "shop") -> None:
        self.blobs: Blobs = "whole"
        self.sending = 0
        self.broken_off = 0
        self._token = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
        self._repository = repository
        self._contents: dict[str, tuple[str, bytes]] = {}
        registry = self

        class Handler(_Handler):
            pass

        Handler.registry = registry
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def image(self, tag: str) -> str:
        """How an engine on this machine calls an image of it."""
        return f"127.0.0.1:{self.port}/{self._repository}:{tag}"

    def add(self, tag: str, version: str) -> str:
        """Have an image of `tests/images/app.c` that answers `version`; its id (sha256:…). No engine has its layer yet."""
        layer = io.BytesIO()
        with tarfile.open(fileobj=layer, mode="w") as tar:
            tar.add(application(), "app")
            noise = tarfile.TarInfo("padding")
            noise.size = PADDING
            tar.addfile(noise, io.BytesIO(os.urandom(PADDING)))
        packed = gzip.compress(layer.getvalue(), 1)
        config = {
            "architecture": "amd64",
            "os": "linux",
            "config": {
                "Env": [f"APP_VERSION={version}"],
                "Entrypoint": ["/app"],
                "Healthcheck": {"Test": ["CMD", "/app", "health"], "Interval": SECOND_NS},
            },
            "rootfs": {"type": "layers", "diff_ids": [_digest(layer.getvalue())]},
        }
        described = self._keep_blob(CONFIG, json.dumps(config).encode())
        manifest = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": described,
            "layers": [self._keep_blob(LAYER, packed)],
        }
        content = json.dumps(manifest).encode()
        for reference in (tag, _digest(content)):
            self._contents[f"manifests/{reference}"] = (MANIFEST, content)
        return str(described["digest"])

    def close(self) -> None:
        """Listen no more."""
        self._server.shutdown()
        self._server.server_close()

    def find(self, path: str) -> tuple[str, bytes] | None:
        """Media type and content at a path of the registry's API."""
        if path == "/v2/":
            return "application/json", b"{}"
        return self._contents.get(path.removeprefix(f"/v2/{self._repository}/"))

    def lets_in(self, authorization: str | None) -> bool:
        """Whether those are the right credentials."""
        return authorization == self._token

    def _keep_blob(self, media_type: str, content: bytes) -> dict[str, Any]:
        digest = _digest(content)
        self._contents[f"blobs/{digest}"] = ("application/octet-stream", content)
        return {"mediaType": media_type, "digest": digest, "size": len(content)}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    registry: OciRegistry

    def do_GET(self) -> None:
        if not self.registry.lets_in(self.headers["Authorization"]):
            self._answer(
                401, "application/json", b'{"errors": [{"code": "UNAUTHORIZED", "message": "who?"}]}'
            )
            return
        found = self.registry.find(self.path)
        if found is None:
            self._answer(
                404, "application/json", b'{"errors": [{"code": "NAME_UNKNOWN", "message": "what?"}]}'
            )
        elif len(found[1]) > 2000 and self.registry.blobs != "whole":
            self._begin(200, found[0], len(found[1]))
            self._send_badly(found[1])
        else:
            self._answer(200, *found)

    do_HEAD = do_GET  # noqa: N815 (http.server's name)

    def _begin(self, status: int, media_type: str, length: int) -> None:
        self.send_response(status)
        self.send_header("Content-Type", media_type)
        self.send_header("Content-Length", str(length))
        self.send_header("Docker-Distribution-Api-Version", "registry/2.0")
        if status == 401:
            self.send_header("WWW-Authenticate", 'Basic realm="tests"')
        self.end_headers()

    def _answer(self, status: int, media_type: str, content: bytes) -> None:
        self._begin(status, media_type, len(content))
        if self.command != "HEAD":
            self.wfile.write(content)

    def _send_badly(self, content: bytes) -> None:
        self.close_connection = True
        registry = self.registry
        registry.sending += 1
        if registry.blobs == "break_off":
            self.wfile.write(content[: len(content) // 2])
            return
        try:
            for byte in content:
                self.wfile.write(bytes([byte]))
                time.sleep(DRIBBLE_S)
        except OSError:
            registry.broken_off += 1

    def log_message(self, *_: Any) -> None:
        pass


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"

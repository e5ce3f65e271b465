"""A Unix socket of the tests' own between an agent and its engine: requests are slowed down, answered otherwise, or cut off."""

import contextlib
import json
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

CHUNK = 64 * 1024

Decide = Callable[[str], bytes | None]
"""Told a request's first line; may block. What it returns is answered, and the connection closed; None: the engine answers."""


class EngineBetween:
    """Listens at `socket`; `decide` may be exchanged at any time. Without an `engine` it must answer everything."""

    def __init__(self, socket_path: Path, engine: Path | None = None) -> None:
        self.url = f"unix://{socket_path}"
        self.decide: Decide = lambda _: None
        self._engine = engine
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(socket_path))
        self._listener.listen(128)
        threading.Thread(target=self._accept, daemon=True).start()

    def hold(self, wanted: Callable[[str], bool]) -> "HeldRequest":
        """Keep the first request that is `wanted` (told its first line) from the engine; all others pass."""
        held = HeldRequest(wanted)
        self.decide = held.decide
        return held

    def close(self) -> None:
        """Take no more connections."""
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        engine = None
        with client, contextlib.suppress(OSError):
            while content := client.recv(CHUNK):
                line = content.partition(b"\r\n")[0].decode("latin-1")
                if line.endswith(" HTTP/1.1"):
                    answer = self.decide(line)
                    if answer is not None:
                        client.sendall(answer)
                        break
                if engine is None:
                    engine = self._connect(client)
                engine.sendall(content)
        if engine is not None:
            with contextlib.suppress(OSError):
                engine.shutdown(socket.SHUT_WR)

    def _connect(self, client: socket.socket) -> socket.socket:
        assert self._engine is not None, "there is no engine to ask"
        engine = socket.socket(socket.AF_UNIX)
        engine.connect(str(self._engine))
        threading.Thread(target=_pass_on, args=(engine, client), daemon=True).start()
        return engine


class HeldRequest:
    """On its way to the engine, which does not hear of it before `let_through`."""

    def __init__(self, wanted: Callable[[str], bool]) -> None:
        self._wanted = wanted
        self._lock = threading.Lock()
        self._came, self._through = threading.Event(), threading.Event()

    def wait(self) -> None:
        """Until it has come."""
        assert self._came.wait(30), "no such request came"

    def let_through(self) -> None:
        """The engine gets it, though whoever sent it may be dead."""
        self._through.set()

    def decide(self, line: str) -> None:
        """See Decide."""
        with self._lock:
            mine = not self._came.is_set() and self._wanted(line)
            if mine:
                self._came.set()
        if mine:
            self._through.wait(60)


def _pass_on(engine: socket.socket, client: socket.socket) -> None:
    with engine, contextlib.suppress(OSError):
        while content := engine.recv(CHUNK):
            with contextlib.suppress(OSError):  # who asked may be gone: the engine does not hear of it
                client.sendall(content)
        client.shutdown(socket.SHUT_RDWR)


def answer_of(body: Any, status: str = "200 OK") -> bytes:
    """A whole answer of an engine."""
    content = json.dumps(body).encode()
    head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(content)}\r\nConnection: close\r\n\r\n"
    return head.encode() + content


def stream_of(*lines: Any, whole: bool) -> bytes:
    """An answer in chunks, a line in each; the end is missing where it is not `whole`."""
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    contents = [json.dumps(line).encode() + b"\r\n" for line in lines]
    chunks = [f"{len(content):x}\r\n".encode() + content + b"\r\n" for content in contents]
    return head + b"".join(chunks) + (b"0\r\n\r\n" if whole else b"")

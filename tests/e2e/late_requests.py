"""A way to an agent on which its first request to run a script is late: what a network does, and what a frozen process looks like."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx

EXECUTE = "/v1/commands/release.execute"


class LateRequests:
    """Stands before the agent at `target` (a URL), and keeps the first script's request until `let_go`.

    `kept` is set once that request is there; `answer` is what the agent said to it in the end.
    """

    def __init__(self, target: str) -> None:
        self.kept, self._let_go, self._answered = threading.Event(), threading.Event(), threading.Event()
        self.answer: httpx.Response | None = None
        self._first = threading.Lock()
        way = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _pass_on(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                late = self.path == EXECUTE and way._first.acquire(blocking=False)
                if late:
                    way.kept.set()
                    way._let_go.wait(240)
                headers = {
                    name: value for name, value in self.headers.items() if name not in ("Host", "Connection")
                }
                answer = httpx.request(
                    self.command, target + self.path, content=body, headers=headers, timeout=100
                )
                if late:
                    way.answer = answer
                    way._answered.set()
                self.send_response(answer.status_code)
                self.send_header("Content-Type", answer.headers.get("Content-Type", "application/json"))
                self.send_header("Content-Length", str(len(answer.content)))
                self.end_headers()
                self.wfile.write(answer.content)

            do_GET = do_POST = do_PUT = do_DELETE = _pass_on  # noqa: N815 (http.server asks for these)

            def log_message(self, *_arguments: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def let_go(self) -> httpx.Response:
        """The late request arrives now; what the agent answers to it."""
        self._let_go.set()
        assert self._answered.wait(60), "the agent did not answer the late request"
        assert self.answer is not None
        return self.answer

    def close(self) -> None:
        """End it."""
        self._let_go.set()
        self._server.shutdown()
        self._server.server_close()

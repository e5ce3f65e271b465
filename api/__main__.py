"""`python -m api`: the release API's process."""

import argparse
import logging
import os
import signal
import sys
import threading
from types import FrameType
from typing import Any

import uvicorn

from api.agent_logs import check_caller_settings
from api.app import build_app
from api.auth import named_tokens
from api.errors import ApiError
from api.flow_runs import FlowRuns
from api.garbage import spare_collections
from api.parts import Parts
from api.settings import ApiSettings, check_tls_files
from db.errors import DatabaseError
from db.secrets import load_secret_key
from db.session import open_database

GRACE_S = 5
LAST_S = 9.0
"""Each process ends within 10 s of SIGTERM."""
ABOUT = """\
Serve the release API. Settings come from the environment:
  HOIST_DATABASE_URL         default: SQLite at ~/.hoist/hoist.db; postgresql+psycopg://… after `python -m db upgrade`
  HOIST_SECRET_KEY_FILE      default: ~/.hoist/secret.key (made at the first start, 0600)
  HOIST_API_HOST, _PORT      default: 127.0.0.1, 4210; beyond loopback TLS is needed
  HOIST_API_TLS_CERT, _KEY   PEM files
  HOIST_API_TOKENS_FILE      lines `name role sha256`, role operator or viewer
  HOIST_API_OPERATOR_TOKEN, HOIST_API_VIEWER_TOKEN
                             none of the three set: ~/.hoist/operator.token is made at the first start, 0600
  HOIST_API_ALLOWED_HOSTS    names, beside its own, under which it is reached, comma separated
  HOIST_API_INSECURE_HTTP=1  serve beyond loopback without TLS: tokens travel in the clear
  HOIST_API_REPORT_HISTORY_DAYS
                             default: 30; how long reports are kept
  HOIST_TLS_CA, _CERT, _KEY  for calling agents
  PREFECT_API_URL            default: Prefect's own settings, else http://127.0.0.1:4200/api
  PREFECT_API_AUTH_STRING    needed, with https, for a Prefect server beyond loopback
"""
log = logging.getLogger("api")


def main(arguments: list[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT; answers the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m api", description=ABOUT, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    for chatty in ("alembic", "httpx"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    try:
        settings = ApiSettings.from_env()
        check_tls_files(settings)
        check_caller_settings()
        tokens = named_tokens(settings)
        parts = Parts(settings, open_database(), load_secret_key(), FlowRuns(settings))
    except (ApiError, DatabaseError) as error:
        print(error, file=sys.stderr)
        return 2
    if settings.insecure_http and not settings.loopback and not settings.tls_cert:
        log.warning("INSECURE: serving %s without TLS: tokens travel in the clear", settings.host)
    serve(parts, uvicorn.Config(build_app(parts, tokens), **_options(settings)))
    return 0


def _options(settings: ApiSettings) -> dict[str, Any]:
    return {
        "host": settings.host,
        "port": settings.port,
        "ssl_certfile": settings.tls_cert,
        "ssl_keyfile": settings.tls_key,
        "log_config": None,
        "access_log": False,
        "server_header": False,
        "proxy_headers": False,
        "timeout_graceful_shutdown": GRACE_S,
    }


class EndingServer(uvicorn.Server):
    """Ends within LAST_S of the signal, whatever a thread of a request still waits for: what it had not committed is not."""

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Told to end."""
        if not self.should_exit:
            last = threading.Timer(LAST_S, os._exit, (0,))
            last.daemon = True
            last.start()
        super().handle_exit(sig, frame)


def serve(parts: Parts, config: uvicorn.Config) -> None:
    """Serve until told to end; requests in flight have GRACE_S seconds left then."""
    log.info("serving the release API at %s (documentation: %s/docs)", parts.settings.url, parts.settings.url)
    # uvicorn raises the signal that ended it once more: an end that was asked for is no failure.
    signal.signal(signal.SIGTERM, lambda _number, _frame: None)
    spare_collections()
    try:
        EndingServer(config).run()
    finally:
        parts.database.close()


if __name__ == "__main__":
    sys.exit(main())

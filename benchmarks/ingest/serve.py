"""One worker that takes reports, in the way that is asked for; prints its port, then serves until it is ended.

`python -m benchmarks.ingest.serve WAY`, with HOIST_DATABASE_URL.
"""

import socket
import sys
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import uvicorn
from cryptography.fernet import Fernet

from api.app import build_app
from api.auth import named_tokens
from api.flow_runs import FlowRuns
from api.garbage import spare_collections
from api.ingest.incoming import Incoming, Outcome
from api.ingest.writing import Ingest
from api.parts import Parts
from api.settings import ApiSettings
from benchmarks.ingest import peers
from db.secrets import SecretBox
from db.session import open_database


class NoDatabase(Ingest):
    """Takes every report and keeps none: what all but the writing costs."""

    def write_processes(self, batch: Sequence[Incoming[Any]]) -> list[Outcome]:
        return [peers.accepted(one.report_id) for one in batch]


def hoist(keeps: bool = True) -> Any:
    settings = ApiSettings(operator_token="the-operator's-token", prefect_url="http://127.0.0.1:9/api")
    parts = Parts(settings, open_database(), SecretBox(Fernet.generate_key().decode()), FlowRuns(settings))
    ingest = None if keeps else NoDatabase(parts.database, timedelta(days=30))
    return build_app(parts, named_tokens(settings), ingest)


WAYS: dict[str, Callable[[], Any]] = {
    "hoist": hoist,
    "hoist_without_database": lambda: hoist(keeps=False),
    "fastapi_orm": peers.fastapi_orm,
    "fastapi_psycopg_pool": peers.fastapi_psycopg_pool,
    "floor_fastapi_validation": peers.fastapi_validation,
    "floor_bare_validation": peers.bare_validation,
}


def main() -> None:
    # With its protocol said, asyncio sends small answers at once (TCP_NODELAY), as on a port that uvicorn opens itself.
    listener = socket.socket(proto=socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    app = WAYS[sys.argv[1]]()
    spare_collections()  # as `python -m api` does, and the peers too
    print(listener.getsockname()[1], flush=True)
    # As `python -m api` has it, and the peers too.
    config = uvicorn.Config(app, log_config=None, access_log=False, server_header=False, proxy_headers=False)
    uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main()

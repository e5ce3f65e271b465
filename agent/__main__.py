"""`python -m agent`: the agent, until SIGTERM or Ctrl-C."""

import argparse
import asyncio
import logging
import os
import signal
import sys

from agent import __version__
from agent.assembly import assemble
from agent.errors import SettingsError
from agent.server import server_of
from agent.settings import PREFIX, AgentSettings


def main(arguments: list[str] | None = None) -> int:
    """Run the agent; 0 after a clean stop, 2 where the settings don't allow a start, 1 where it can't listen."""
    _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    try:
        settings = AgentSettings.from_env(os.environ)
        server = server_of(assemble(settings), settings)
    except SettingsError as error:
        print(f"hoist-agent: {error}", file=sys.stderr)
        return 2
    logging.getLogger("agent").info("%s listens on %s:%s", settings.client_id, settings.host, settings.port)
    if settings.insecure_http and not settings.loopback and settings.tls_cert is None:
        logging.getLogger("agent").warning(
            "commands and tokens travel in the clear: %sINSECURE_HTTP=1", PREFIX
        )
    # uvicorn raises a signal that it obeyed once more when it is through: the stop was clean.
    signal.signal(signal.SIGTERM, lambda *_: None)
    _keep_hangup_from_children()
    try:
        asyncio.run(server.serve())
    except KeyboardInterrupt:
        return 0
    return 0 if server.started else 1


def _keep_hangup_from_children() -> None:
    """An agent that was started with nohup ignores SIGHUP; what it starts must not, for many reload at it.

    An ignored signal is inherited over execve(2), one with a handler is not: see signal(7).
    """
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        signal.signal(signal.SIGHUP, lambda *_: None)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="hoist-agent",
        description="Hoist's agent: runs releases on this host, detached, and reports what really runs here.",
        epilog=f"Its settings are environment variables, {PREFIX}*: see docs/reference/settings.md.",
    )
    parser.add_argument("--version", action="version", version=f"hoist-agent {__version__}")
    return parser


if __name__ == "__main__":
    sys.exit(main())

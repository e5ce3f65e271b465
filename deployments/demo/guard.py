"""Ends a fleet's processes when its starter is gone: `python -m deployments.demo.guard ROOT`, with a pipe as stdin.

The starter holds the pipe's other end and never writes. Its death, however it comes, closes the pipe.
"""

import os
import signal
import sys
from pathlib import Path

from deployments.demo.processes import kill_all, marked_pids


def main() -> None:
    """Wait for the end of stdin, then kill what is marked."""
    for sign in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(sign, signal.SIG_IGN)
    while os.read(0, 1):
        pass
    root = Path(sys.argv[1])
    kill_all(lambda: marked_pids(root))


if __name__ == "__main__":
    main()

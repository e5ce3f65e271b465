"""The host's process: runs releases, detached, and reports what really runs there."""

__version__ = "0.1.0"

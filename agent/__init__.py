"""The host's process: runs releases, detached, and reports what really runs there."""

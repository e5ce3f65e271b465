"""Releases on this host: what was installed here, which version answers, and whether its checks pass."""

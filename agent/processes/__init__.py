"""Processes: what runs on this host, which rules it matches, and what would happen to it without the agent."""

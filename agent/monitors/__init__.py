"""Monitors: what this agent reports by itself, and the spool that keeps reports while the release API is away."""

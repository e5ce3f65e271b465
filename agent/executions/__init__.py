"""Executions: a script run once per id, detached from the agent, its result kept."""

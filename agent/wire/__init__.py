"""Every type on the agent's wire, a module per command family."""

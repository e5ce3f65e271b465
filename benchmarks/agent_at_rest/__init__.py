"""What an agent that reports every minute costs its host; the floor is an interpreter with the same imports."""

"""Pure decisions: what was and what is, in; a named reason, out. No Prefect, no I/O; `now` is passed in."""

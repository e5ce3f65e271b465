"""Order, waves, branching: one flow per file."""

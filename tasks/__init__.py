"""One side effect each, retryable; the database remembers."""

"""The command line `hoist`: a caller of the release API, which knows nothing of the database, the tasks or the flows."""

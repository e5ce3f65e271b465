"""A whole Hoist on loopback: Prefect server, release API, worker and agents as real processes; `make demo` and the e2e tests."""

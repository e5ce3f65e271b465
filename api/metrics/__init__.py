"""/metrics, for Prometheus: what this process counts, and the fleet as the database has it."""

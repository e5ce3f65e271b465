"""The history of reports: by day, in batches, and dropped by age; beside it the newest report of each kind."""

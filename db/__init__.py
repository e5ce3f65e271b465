"""The database: one schema on SQLite or PostgreSQL, and what is asked of it."""

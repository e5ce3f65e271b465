"""Reports into the database: how many a second."""

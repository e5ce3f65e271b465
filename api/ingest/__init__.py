"""Reports into the database: in batches, each report kept once, the newest of its kind in a row of its own."""

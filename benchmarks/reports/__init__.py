"""Reports in the database: what they take, how the newest are read, how old ones go."""

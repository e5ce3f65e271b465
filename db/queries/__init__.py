"""What is asked of the database, by noun. `get_…` raises RowNotFoundError, `find_…` answers None."""

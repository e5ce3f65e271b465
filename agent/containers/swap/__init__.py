"""`container.deploy`: a version's container takes the place of the one before it, resumable at any line."""

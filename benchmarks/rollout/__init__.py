"""One upgrade of 1,000 simulated clients, results in the database; the floor is the same HTTP in plain asyncio."""

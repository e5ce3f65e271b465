"""How many clients a second one upgrade flow brings through, with the results in the database."""

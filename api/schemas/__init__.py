"""The documents of the release API, a module per noun."""

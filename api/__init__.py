"""The release API: one router per noun."""

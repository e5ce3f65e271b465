"""Typed JSON that is kept in columns."""

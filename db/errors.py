"""What can go wrong with the database: transient (ask again) or permanent."""


class DatabaseError(Exception):
    """Something about the database could not be done."""


class TransientDatabaseError(DatabaseError):
    """The database can't be reached or is busy now."""


class RacedError(TransientDatabaseError):
    """Another process wrote the same thing at the same moment, or what was there a moment ago is gone: do it over."""


class PermanentDatabaseError(DatabaseError):
    """Asking again won't help: a wrong URL, a schema that is not at head."""


class SchemaNotAtHeadError(PermanentDatabaseError):
    """The schema is older (or newer) than this code."""


class RowNotFoundError(PermanentDatabaseError):
    """What was asked for by its id or name is not there (404)."""

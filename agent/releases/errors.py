"""What goes wrong while an application is asked about itself: data for the answer, never a failed request."""


class CannotAsk(Exception):
    """The application could not be asked; the message says why, for people."""

"""What goes wrong with the demo fleet."""


class DemoError(Exception):
    """The demo cannot go on; the message says why."""

"""How a swap comes to an end that is no success."""


class SwapFailed(Exception):
    """It can't go on; the message says why, for the operator."""


class SwapEnded(Exception):
    """It was cancelled, or its time is over: what can be put back is put back."""


class SwapAbandoned(Exception):
    """The agent stops. Nothing is put back: its next start goes on from here."""

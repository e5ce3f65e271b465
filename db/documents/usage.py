"""What a version uses on one client, before an upgrade and after it."""

from agent.wire.base import Answer


class Usage(Answer):
    """Of all its processes or containers together. `cpu_percent` is of one core. None: it was not measured."""

    cpu_percent: float | None = None
    memory_mb: float | None = None


class ClientUsage(Answer):
    """`before`: its newest report from before the attempt; `after`: the mean over `stable_for_s`."""

    before: Usage
    after: Usage | None = None

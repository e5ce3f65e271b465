"""What goes wrong between the agent and the host's container engine."""

from agent.errors import Unavailable

PART = "docker engine"


class EngineUnavailable(Unavailable):
    """The engine is absent, down or too slow: 503, naming it. The same request may work later."""

    def __init__(self, why: str) -> None:
        detail = f"cannot reach the Docker engine: {why}"
        super().__init__(why, title="Engine unavailable", detail=detail, part=PART)

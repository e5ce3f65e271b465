"""What goes wrong between the agent and the host's container engine."""

from agent.errors import Refused

PART = "docker engine"


class EngineUnavailable(Refused):
    """The engine is absent, down or too slow: 503, naming it. The same request may work later."""

    def __init__(self, why: str) -> None:
        self.why = why
        super().__init__(503, "Engine unavailable", f"cannot reach the Docker engine: {why}", part=PART)

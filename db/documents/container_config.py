"""How a project's containers are watched."""

from typing import Annotated

from pydantic import Field

from agent.wire.base import FiniteFloat, Request


class ContainerConfig(Request):
    """Limits in percent: of one core, of the container's memory limit (or the host's).

    A limit has to be exceeded for `alert_for_s` seconds before it is an alert.
    """

    alert_on_exit: bool = True
    alert_on_high_cpu: Annotated[FiniteFloat, Field(gt=0, le=100_000)] | None = None
    alert_on_high_mem: Annotated[FiniteFloat, Field(gt=0, le=100)] | None = None
    alert_for_s: Annotated[int, Field(strict=True, ge=0, le=86_400)] = 300

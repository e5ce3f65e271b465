"""What a viewer does not see: values of environment variables, which may be secrets. Their names stay."""

from typing import Any, TypeVar

from pydantic import BaseModel

from api.auth import Principal

MASK = "***"
Shown = TypeVar("Shown", bound=BaseModel)


def shown_to(principal: Principal, answer: Shown) -> Shown:
    """The answer, as this caller may see it."""
    if principal.role == "operator":
        return answer
    update: dict[str, Any] = {}
    if hasattr(answer, "env"):
        update["env"] = dict.fromkeys(answer.env, MASK)
    config = getattr(answer, "deploy_config", None)
    if config is not None:
        update["deploy_config"] = config.model_copy(update={"env": dict.fromkeys(config.env, MASK)})
    return answer.model_copy(update=update) if update else answer

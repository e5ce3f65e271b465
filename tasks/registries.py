"""Credentials of registries: a Prefect Secret block, named by the version's `deploy_config.registry`, read when they are used."""

import json
from typing import Any

import httpx
from prefect.blocks.system import Secret
from prefect.exceptions import PrefectException
from pydantic import ValidationError

from agent.errors import TransientAgentError
from agent.wire.containers import RegistryAuth
from tasks.errors import RegistryError


async def registry_auth(name: str) -> RegistryAuth:
    """The credentials that the block `secret/NAME` holds, as JSON: `{"username": …, "password": …, "server"?: …}`.

    Raises RegistryError where there is none, or it holds something else; its content is in no message. Raises
    TransientAgentError where Prefect's server can't be asked: nothing was sent to the agent yet.
    """
    try:
        block: Any = await Secret.aload(name)
    except ValueError:
        raise RegistryError(
            f"cannot log in to the registry: there is no Prefect block secret/{name}; "
            "make it with the registry's username and password, as JSON"
        ) from None
    except (httpx.HTTPError, PrefectException) as error:
        said = f"cannot read the Prefect block secret/{name}: {type(error).__name__}"
        raise TransientAgentError(said, may_have_arrived=False) from error
    try:
        return RegistryAuth.model_validate(_document(block.get()))
    except (ValidationError, ValueError, TypeError):
        raise RegistryError(
            f"cannot log in to the registry: the Prefect block secret/{name} holds no username and password as JSON"
        ) from None


def _document(value: Any) -> Any:
    return json.loads(value) if isinstance(value, str) else value

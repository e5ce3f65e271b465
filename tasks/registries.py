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


async def registry_auth(name: str, image: str) -> RegistryAuth:
    """The credentials that the block `secret/NAME` holds, as JSON: `{"username": …, "password": …, "server"?: …}`.

    With a `server` they are for that registry alone: whoever may write a version must not send them anywhere else.
    Raises RegistryError where there is none, it holds something else, or is for another registry than the image's; its content is in no message. Raises
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
        auth = RegistryAuth.model_validate(_document(block.get()))
    except (ValidationError, ValueError, TypeError):
        raise RegistryError(
            f"cannot log in to the registry: the Prefect block secret/{name} holds no username and password as JSON"
        ) from None

    if auth.server is not None and auth.server != registry_of(image):
        raise RegistryError(
            f"cannot log in to {registry_of(image)}: the Prefect block secret/{name} is for {auth.server} alone"
        )
    return auth


def registry_of(image: str) -> str:
    """The registry that an image's reference names, by the engine's rule: a first part with a dot, a port or a capital, or localhost.

    https://pkg.go.dev/github.com/distribution/reference
    """
    first, slash, _ = image.partition("/")
    is_host = bool(slash) and ("." in first or ":" in first or first == "localhost" or first != first.lower())
    return first if is_host else "docker.io"


def _document(value: Any) -> Any:
    return json.loads(value) if isinstance(value, str) else value

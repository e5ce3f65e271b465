"""Getting the image onto the host, by the version's policy. Credentials go to the engine alone, and nowhere else."""

from agent.containers.swap.dock import Dock
from agent.containers.swap.errors import SwapFailed
from agent.containers.swap.notes import Notes
from agent.wire.containers import ContainerDeployRequest


def pull(dock: Dock, request: ContainerDeployRequest, notes: Notes) -> str:
    """The image's own digest (sha256:…), once the engine has it. Raises SwapFailed."""
    config = request.deploy_config
    there = dock.image_id(config.image)
    if config.pull == "never" and there is None:
        raise SwapFailed(f"image {config.image} is not on this host, and is never pulled")
    if config.pull == "always" or there is None:
        notes.tell(f"pulling {config.image}")
        auth = request.registry_auth
        credentials = None if auth is None else {"username": auth.username, "password": auth.password}
        for problem in dock.pull(config.image, credentials):
            notes.check()
            if problem is not None:
                raise SwapFailed(f"cannot pull {config.image}: {problem}"[:1000])
        there = dock.image_id(config.image)
    if there is None:
        raise SwapFailed(f"image {config.image} was pulled, and is not there all the same")
    return there

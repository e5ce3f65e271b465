"""A registry's credentials, out of a real Prefect server's Secret blocks: the right ones, or one clear line without them."""

import json

import pytest
from prefect.blocks.system import Secret

from tasks.errors import RegistryError
from tasks.registries import registry_auth, registry_of

IMAGE = "registry.example:5000/shop:1.5"
LOGIN = {"username": "deployer", "password": "hunter2-of-the-tests"}


async def keep(name, value):
    await Secret(value=value).save(name, overwrite=True)


@pytest.mark.parametrize("server", [None, "registry.example:5000"])
async def test_login_is_read(prefect_api, server):
    await keep("hoist-registry", json.dumps({**LOGIN, **({"server": server} if server else {})}))
    auth = await registry_auth("hoist-registry", IMAGE)
    assert (auth.username, auth.password) == (LOGIN["username"], LOGIN["password"])
    assert LOGIN["password"] not in repr(auth)


async def test_login_for_one_registry_goes_to_no_other(prefect_api):
    await keep("hoist-registry", json.dumps({**LOGIN, "server": "registry.example:5000"}))
    for image in ("evil.example/shop:1.5", "shop:1.5", "registry.example/shop:1.5"):
        with pytest.raises(RegistryError, match=r"for registry\.example:5000 alone"):
            await registry_auth("hoist-registry", image)


async def test_missing_block_names_itself(prefect_api):
    with pytest.raises(RegistryError, match="there is no Prefect block secret/hoist-none"):
        await registry_auth("hoist-none", IMAGE)


@pytest.mark.parametrize("value", ["no json", "[]", '{"username": "x"}', json.dumps({**LOGIN, "more": 1})])
async def test_what_is_no_login_is_refused_without_its_content(prefect_api, value):
    await keep("hoist-wrong", value)
    with pytest.raises(RegistryError) as refused:
        await registry_auth("hoist-wrong", IMAGE)
    assert "hunter2" not in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("image", "registry"),
    [
        ("shop", "docker.io"),
        ("shop:1.5", "docker.io"),
        ("library/shop:1.5", "docker.io"),
        ("localhost/shop", "localhost"),
        ("localhost:5000/shop", "localhost:5000"),
        ("registry.example/a/b@sha256:00", "registry.example"),
        ("EVIL/shop:1", "EVIL"),
    ],
)
def test_registry_is_read_off_the_image(image, registry):
    assert registry_of(image) == registry

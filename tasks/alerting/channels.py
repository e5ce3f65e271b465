"""Where news goes: channels by URL, each for some levels and projects, from a file that its owner alone can read.

The file (HOIST_NOTIFY_FILE, TOML, 0600) has one table for each channel:

    [[channel]]
    name = "ops"
    url = "slack://…"                    # any URL of apprise's: https://appriseit.com/services/
    levels = ["critical", "warning"]     # all of them where it is left out
    projects = ["shop"]                  # all of them where it is left out
    events = ["firing", "resolved"]      # all of them where it is left out

`url_env = "OPS_URL"` takes the URL from the environment instead, `url_block = "ops-url"` from a Prefect Secret block,
which is read as a message leaves: a Prefect server that is slow or away keeps nothing from the other channels.
"""

import asyncio
import logging
import os
import stat
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import apprise
from pydantic import Field, ValidationError, model_validator

from agent.wire.base import Request
from tasks.alerting.prefect_events import NAME as EVENTS
from tasks.errors import PermanentTaskError, TransientTaskError

Level = Literal["info", "warning", "critical"]
Event = Literal["firing", "resolved", "started", "needs_person", "failed", "done", "rolled_back"]
NOTIFY_FILE = "HOIST_NOTIFY_FILE"
BLOCK_WITHIN_S = 10.0

for _name in ("apprise", "urllib3.connectionpool"):  # they name URLs, which are secrets
    logging.getLogger(_name).addFilter(lambda _record: False)


class ChannelConfig(Request):
    """One channel, as the file says it. Exactly one of the three says where it is."""

    name: Annotated[str, Field(min_length=1, max_length=100)]
    url: Annotated[str, Field(min_length=1, max_length=2000)] | None = Field(None, repr=False)
    url_env: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    url_block: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    levels: Annotated[tuple[Level, ...], Field(min_length=1)] = ("info", "warning", "critical")
    projects: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    events: Annotated[tuple[Event, ...], Field(min_length=1)] | None = None

    @model_validator(mode="after")
    def _has_one_address(self) -> Self:
        if sum(one is not None for one in (self.url, self.url_env, self.url_block)) != 1:
            raise ValueError("give one of url, url_env and url_block")
        return self


class ChannelsFile(Request):
    """The whole file."""

    channel: tuple[ChannelConfig, ...] = ()


@dataclass(frozen=True, slots=True)
class Channel:
    """A channel with its URL, which is a secret: it is in no log and no row. `url` None: it is in a Prefect block."""

    config: ChannelConfig
    url: str | None = field(repr=False)

    @property
    def name(self) -> str:
        """What deliveries are recorded under."""
        return self.config.name

    def find_url(self) -> str:
        """Its URL, from the block where it is in one. Raises TransientTaskError."""
        return self.url if self.url is not None else _read_block(self.config.url_block or "")

    def wants(self, event: str, level: str, project: str | None) -> bool:
        """Whether a piece of news is for it."""
        config = self.config
        if config.events is not None and event not in config.events:
            return False
        if config.projects is not None and project not in config.projects:
            return False
        return level in config.levels


def load_channels(environ: Mapping[str, str] = os.environ) -> tuple[Channel, ...]:
    """The channels of the file; none where no file is named. Raises PermanentTaskError, and never says a URL."""
    where = environ.get(NOTIFY_FILE)
    if not where:
        return ()
    path = Path(where).expanduser()
    try:
        if stat.S_IMODE(path.stat().st_mode) & 0o077:
            raise PermanentTaskError(f"cannot use {path}: others may read it; run: chmod 600 {path}")
        document = ChannelsFile.model_validate(tomllib.loads(path.read_text()))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise PermanentTaskError(f"cannot read {path}: {_without_content(error)}") from error
    except ValidationError as error:
        places = ", ".join(".".join(map(str, one["loc"])) + ": " + one["msg"] for one in error.errors())
        raise PermanentTaskError(f"cannot use {path}: {places}") from None
    names = [one.name for one in document.channel]
    if len(set(names)) != len(names):
        raise PermanentTaskError(f"cannot use {path}: two channels have one name")
    if EVENTS in names:
        raise PermanentTaskError(f"cannot use {path}: no channel may be called {EVENTS!r}: Prefect's is")
    return tuple(_channel_of(one, path, environ) for one in document.channel)


def _without_content(error: Exception) -> str:
    if isinstance(error, OSError):
        return error.strerror or "unreadable"
    return f"it is no TOML ({error})" if isinstance(error, tomllib.TOMLDecodeError) else "it is no UTF-8"


def _channel_of(config: ChannelConfig, path: Path, environ: Mapping[str, str]) -> Channel:
    if config.url_block is not None:
        return Channel(config, None)
    url = config.url or environ.get(config.url_env or "", "")
    if not url or not apprise.Apprise().add(url):
        raise PermanentTaskError(
            f"cannot use {path}: the URL of channel {config.name} is missing, or none that apprise knows"
        )
    return Channel(config, url)


def _read_block(name: str) -> str:
    from prefect.blocks.system import Secret

    async def load() -> Any:
        async with asyncio.timeout(BLOCK_WITHIN_S):
            block: Any = await Secret.aload(name)
        return block.get()

    try:
        return str(asyncio.run(load()))
    except Exception as error:  # noqa: BLE001 (Prefect raises many kinds; all mean that there is no URL)
        raise TransientTaskError(
            f"cannot read the Prefect block secret/{name}: {type(error).__name__}"
        ) from None

"""Getting the image onto the host, by the version's policy. Credentials go to the engine alone, and nowhere else."""

import threading
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any

from agent.containers.errors import EngineUnavailable
from agent.containers.swap.dock import Dock
from agent.containers.swap.notes import Notes
from agent.executions.steps import StepFailed
from agent.wire.containers import ContainerDeployRequest

LOOK_S = 0.5
"""An engine that waits for a slow registry says nothing: so often it is looked whether the swap is to end meanwhile."""
MOST_BREAKS = 3
"""So often the engine's answer may break off before the pull has failed."""

Said = dict[str, Any]
Heard = SimpleQueue[Said | Exception | None]


class Pull:
    """One image. `get` may be called again where the engine was away."""

    def __init__(self, dock: Dock, request: ContainerDeployRequest, notes: Notes) -> None:
        self._dock = dock
        self._config = request.deploy_config
        self._auth = request.registry_auth
        self._notes = notes
        self._breaks = 0

    def get(self) -> str:
        """The image's own digest (sha256:…), once the engine has it. Raises StepFailed, Ended and EngineUnavailable."""
        config = self._config
        there = self._dock.image_id(config.image)
        if config.pull == "never" and there is None:
            raise StepFailed(f"image {config.image} is not on this host, and is never pulled")
        if config.pull == "always" or there is None:
            self._fetch()
            there = self._dock.image_id(config.image)
        if there is None:
            raise StepFailed(f"image {config.image} was pulled, and is not there all the same")
        return there

    def _fetch(self) -> None:
        image = self._config.image
        self._notes.tell(f"pulling {image}")
        try:
            last = self._listen()
        except EngineUnavailable as error:
            self._breaks += 1
            if self._breaks < MOST_BREAKS:
                raise
            raise StepFailed(f"cannot pull {image}: the engine broke off {self._breaks} times") from error
        if not str(last.get("status", "")).startswith("Status: "):
            raise StepFailed(f"cannot pull {image}: the engine ended its answer before it was through")

    def _listen(self) -> Said:
        """The engine's last line: "Status: …" is how a pull that succeeded ends, and nothing else does."""
        heard: Heard = SimpleQueue()
        answer = _Answer()
        threading.Thread(target=self._read, args=(heard, answer), name="pull", daemon=True).start()
        last: Said = {}
        try:
            while (line := self._next(heard)) is not None:
                if isinstance(line, Exception):
                    raise line
                problem = line.get("error") or (line.get("errorDetail") or {}).get("message")
                if problem:
                    raise StepFailed(f"cannot pull {self._config.image}: {problem}"[:1000])
                last = line
        finally:
            answer.leave()
        return last

    def _next(self, heard: Heard) -> Said | Exception | None:
        while True:
            self._notes.check()
            try:
                return heard.get(timeout=LOOK_S)
            except Empty:
                continue

    def _read(self, heard: Heard, answer: "_Answer") -> None:
        """In a thread of its own, until the end of the answer, or until nobody listens any more."""
        auth = self._auth
        credentials = None if auth is None else {"username": auth.username, "password": auth.password}
        try:
            for line in self._dock.pull(self._config.image, credentials, answer.begin):
                heard.put(line)
        except (StepFailed, EngineUnavailable) as error:
            heard.put(error)  # raised where it is listened to
        finally:
            heard.put(None)


class _Answer:
    """The engine's answer to one pull: an engine that can't tell any more stops pulling."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._left = False
        self._raw: Any = None  # urllib3's response

    def begin(self, answer: Any) -> None:
        """It is there, as a requests.Response."""
        with self._lock:
            self._raw = answer.raw
            if self._left:
                answer.close()

    def leave(self) -> None:
        """Break it off; the thread that reads it then sees its end. One that is over already is fine."""
        with self._lock:
            self._left = True
            if self._raw is not None and not self._raw.closed:
                with suppress(OSError, ValueError):
                    self._raw.shutdown()

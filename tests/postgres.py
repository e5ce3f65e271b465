"""A throw-away PostgreSQL cluster: in a directory of its own, on a Unix socket alone, gone with the tests."""

import ctypes
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import psycopg

START_TIMEOUT_S = 60
_PR_SET_PDEATHSIG = 1
_PORT = 5432  # names the socket; nothing listens on TCP

SETTINGS = {
    "listen_addresses": "",
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "shared_buffers": "64MB",
    "max_connections": "200",
    "autovacuum": "off",
    "logging_collector": "off",
    "timezone": "Asia/Kathmandu",  # not UTC on purpose: times must come back in UTC all the same
}


def find_postgres() -> Path | None:
    """The directory of PostgreSQL's programs: Debian keeps them off the PATH."""
    on_path = shutil.which("initdb")
    candidates = [Path(on_path).resolve().parent] if on_path else []
    candidates += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next(
        (path for path in candidates if (path / "initdb").exists() and (path / "postgres").exists()), None
    )


class PostgresCluster:
    """Start it, ask it for databases, stop it. As root it runs as the user `postgres`: the server refuses root."""

    def __init__(self, programs: Path, **settings: str) -> None:
        self._programs = programs
        self._settings = {**SETTINGS, **settings}
        self._user = pwd.getpwnam("postgres") if os.geteuid() == 0 else None
        self.directory = Path(tempfile.mkdtemp(prefix="hoist-pg-", dir="/tmp"))
        self._process: subprocess.Popen[bytes] | None = None
        self._count = 0

    def start(self) -> None:
        """Make the cluster and wait until it answers."""
        if self._user is not None:
            os.chown(self.directory, self._user.pw_uid, self._user.pw_gid)
        data = self.directory / "data"
        self._run(
            "initdb", "-D", str(data), "-U", "postgres", "--auth=trust", "-E", "UTF8", "--locale=C", "-N"
        )
        self.launch()

    def launch(self) -> None:
        """Start the server (again), and wait until it answers."""
        data = self.directory / "data"
        settings = [item for name, value in self._settings.items() for item in ("-c", f"{name}={value}")]
        command = [str(self._programs / "postgres"), "-D", str(data), "-k", str(self.directory)]
        with (self.directory / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [*command, "-p", str(_PORT), *settings],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=_die_with_parent,  # noqa: PLW1509 (one system call; no thread holds a lock of ours)
                cwd=self.directory,
                **self._identity(),
            )
        self._wait()

    def stop(self) -> None:
        """Stop the server at once, and remove its directory."""
        if self._process is not None:
            if self._process.poll() is None:
                self._process.send_signal(signal.SIGQUIT)
            try:
                self._process.wait(30)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait(30)
        shutil.rmtree(self.directory, ignore_errors=True)

    def kill(self) -> None:
        """SIGKILL the server; its children see that it is gone and end."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(30)

    def url(self, name: str) -> str:
        """The address of one of its databases, for SQLAlchemy."""
        return f"postgresql+psycopg://postgres@/{name}?host={self.directory}&port={_PORT}"

    def create_database(self, template: str | None = None) -> str:
        """A new database, empty or a copy of `template`; answers its name."""
        self._count += 1
        name = f"t{self._count}"
        self.execute(f"CREATE DATABASE {name}" + (f" TEMPLATE {template}" if template else ""))
        return name

    def drop_database(self, name: str) -> None:
        """Drop it, whoever is connected."""
        self.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    def execute(self, statement: str) -> None:
        """Run a statement outside any transaction."""
        with self._connect() as connection:
            connection.execute(statement.encode())

    def _connect(self) -> "psycopg.Connection":
        return psycopg.connect(
            host=str(self.directory),
            port=_PORT,
            user="postgres",
            dbname="postgres",
            autocommit=True,
            connect_timeout=10,
        )

    def _run(self, program: str, *arguments: str) -> None:
        subprocess.run(
            [str(self._programs / program), *arguments],
            check=True,
            capture_output=True,
            cwd=self.directory,
            timeout=START_TIMEOUT_S * 2,
            **self._identity(),
        )

    def _identity(self) -> dict[str, object]:
        environment = {
            "PATH": os.environ.get("PATH", "/usr/bin:/bin"),
            "LC_ALL": "C",
            "HOME": str(self.directory),
        }
        if self._user is None:
            return {"env": environment}
        return {"env": environment, "user": self._user.pw_uid, "group": self._user.pw_gid, "extra_groups": []}

    def _wait(self) -> None:
        assert self._process is not None
        until = time.monotonic() + START_TIMEOUT_S
        while True:
            try:
                self._connect().close()
                return
            except psycopg.OperationalError:
                if self._process.poll() is not None or time.monotonic() > until:
                    raise RuntimeError((self.directory / "log").read_text(errors="replace")[-4000:]) from None
                time.sleep(0.05)


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGQUIT, 0, 0, 0)

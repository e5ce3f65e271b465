"""A local sshd of our own: own port, own host key, one authorized key, and for the time of the run a user of its own.

The user has /bin/sh and an empty home: sshd with bash reads ~/.bashrc, which would be unfair to the peers.
"""

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Sshd:
    port: int
    key: Path
    host_key: Path


USER = "hoist-bench"


@contextlib.contextmanager
def _user(home: Path) -> Iterator[None]:
    subprocess.run(
        ["useradd", "--no-create-home", "--home-dir", str(home), "--shell", "/bin/sh", USER], check=True
    )
    try:
        subprocess.run(["usermod", "--password", "*", USER], check=True)
        yield
    finally:
        subprocess.run(["userdel", "--force", USER], check=True, stderr=subprocess.DEVNULL)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.05)
    raise SystemExit("sshd did not start")


@contextlib.contextmanager
def running_sshd() -> Iterator[Sshd]:
    """An sshd on a free loopback port, stopped at the end; needs Debian's openssh-server."""
    binary = shutil.which("sshd") or "/usr/sbin/sshd"
    if not Path(binary).exists():
        raise SystemExit("this benchmark needs sshd: apt-get install openssh-server")
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        for name in ("host", "user"):
            subprocess.run(
                ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(home / name)], check=True
            )
        authorized = home / "authorized"
        authorized.write_text((home / "user.pub").read_text())
        authorized.chmod(0o644)
        home.chmod(0o755)
        port = _free_port()
        config = home / "sshd_config"
        config.write_text(
            f"Port {port}\nListenAddress 127.0.0.1\nHostKey {home}/host\nAuthorizedKeysFile {authorized}\nUsePAM no\n"
            "PasswordAuthentication no\nLogLevel ERROR\nStrictModes no\nMaxStartups 1000\n"
            f"MaxSessions 1000\nPidFile {home}/pid\nUseDNS no\nSubsystem sftp internal-sftp\nPrintMotd no\n"
        )
        with _user(home):
            os.makedirs("/run/sshd", exist_ok=True)
            server = subprocess.Popen([binary, "-D", "-f", str(config)], stderr=subprocess.DEVNULL)
            try:
                _wait_for(port)
                yield Sshd(port=port, key=home / "user", host_key=home / "host.pub")
            finally:
                server.terminate()
                server.wait(10)

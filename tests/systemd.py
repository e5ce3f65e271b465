"""A real systemd as PID 1, without Docker and without an image, for tests that run as root.

The machine's own root lies under a throw-away overlay; PID, mount, UTS and IPC namespaces are the sandbox's own, the
network is the machine's. systemd gets a subtree of the cgroup hierarchy, and lacks the capabilities to mount or to
change anything of the machine. When the test process dies, however it dies, the sandbox dies with it (PR_SET_PDEATHSIG).
"""

import contextlib
import itertools
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
WAIT_S = 60.0
_numbers = itertools.count()

_HOLDER = """
set -e
mount --make-rprivate /
mount -t tmpfs -o size=512m,mode=755 tmpfs "$1"
mkdir "$1/up" "$1/work" "$1/root"
echo ready
exec sleep infinity
"""

_INIT = """
set -e
D=$1 U=$2 CG=$3
shift 3
echo $$ >"$CG/cgroup.procs"
exec setpriv --pdeathsig KILL unshare -m -p -u -i --fork --kill-child=KILL sh -ec "$BOOT" boot "$D" "$U" "$@"
"""

_BOOT = """
D=$1 U=$2
shift 2
mount --make-rprivate /
mount -t overlay overlay -o lowerdir=/,upperdir=$D/up,workdir=$D/work "$D/root"
R=$D/root
mount -t proc proc "$R/proc"
mount -t tmpfs -o mode=755 tmpfs "$R/dev"
mkdir "$R/dev/pts" "$R/dev/shm"
mount -t tmpfs tmpfs "$R/dev/shm"
for n in null zero full random urandom tty; do touch "$R/dev/$n"; mount --bind "/dev/$n" "$R/dev/$n"; done
touch "$R/dev/console"
mount --bind "$TTY" "$R/dev/console"
mount -t devpts -o newinstance,ptmxmode=0666 devpts "$R/dev/pts"
ln -s pts/ptmx "$R/dev/ptmx"
ln -s /proc/self/fd "$R/dev/fd"
mount -t tmpfs -o mode=755 tmpfs "$R/run"
mount -t tmpfs tmpfs "$R/tmp"
mkdir "$R/run/lock"
mount -t tmpfs tmpfs "$R/run/lock"
mount -t sysfs -o ro sysfs "$R/sys"
mount --bind "$U" "$R/sys/fs/cgroup"
for b in "$@"; do mkdir -p "$R$b"; mount --bind "$b" "$R$b"; done
cd "$R"
mkdir -p .old
pivot_root . .old
cd /
umount -l /.old
exec env -i container=docker PATH=/usr/sbin:/usr/bin:/sbin:/bin \\
    setpriv --bounding-set=-sys_admin,-sys_module,-sys_boot,-sys_time,-sys_rawio,-mac_admin,-mac_override,-syslog --inh-caps=-all \\
    /lib/systemd/systemd --system --unit=multi-user.target --log-target=console --show-status=0
"""

_UNITS = {
    # The machine's own services must not start in here: targets without what they would want.
    "sysinit.target": "[Unit]\nDescription=bare\nDefaultDependencies=no\n",
    "basic.target": "[Unit]\nDescription=bare\nRequires=sysinit.target\nAfter=sysinit.target\n",
    "multi-user.target": "[Unit]\nDescription=bare\nRequires=basic.target\nAfter=basic.target\nAllowIsolate=yes\n",
    "network-online.target": "[Unit]\nDescription=bare\n",
}


class SystemdSandbox:
    """One such systemd. `shared` directories are the machine's own, seen at the same place."""

    def __init__(self, directory: Path, shared: Sequence[Path]) -> None:
        self._directory = directory
        self._shared = [str(path) for path in shared]
        self._hierarchy = _unified_hierarchy()
        self._cgroup = self._hierarchy / f"hoist-test-{os.getpid()}-{next(_numbers)}"
        self._holder: subprocess.Popen[str] | None = None
        self._init: subprocess.Popen[bytes] | None = None
        self._pid = 0

    def open(self) -> None:
        """Make the file system and boot."""
        self._directory.mkdir(parents=True, exist_ok=True)
        self._cgroup.mkdir()
        self._holder = subprocess.Popen(
            [
                "setpriv",
                "--pdeathsig",
                "KILL",
                "unshare",
                "-m",
                "sh",
                "-c",
                _HOLDER,
                "holder",
                str(self._directory),
            ],
            stdout=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            text=True,
        )
        assert self._holder.stdout is not None
        assert self._holder.stdout.readline() == "ready\n", "cannot mount the sandbox's file system"
        etc = self._upper / "etc" / "systemd" / "system"
        etc.mkdir(parents=True)
        self._hide()
        for name, content in _UNITS.items():
            (etc / name).write_text(content)
        (self._upper / "etc" / "machine-id").write_text("0123456789abcdef0123456789abcdef\n")
        self.boot()

    def boot(self) -> None:
        """Start systemd, and wait until it has started what it is to start."""
        assert self._holder is not None
        master, console = os.openpty()
        threading.Thread(target=_drain, args=(master, self._log), daemon=True).start()
        self._init = subprocess.Popen(
            [
                *(
                    "nsenter",
                    "-t",
                    str(self._holder.pid),
                    "-m",
                    "setpriv",
                    "--pdeathsig",
                    "KILL",
                    "sh",
                    "-ec",
                    _INIT,
                ),
                *("init", str(self._directory), str(self._hierarchy), str(self._cgroup), *self._shared),
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=console,
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "BOOT": _BOOT, "TTY": os.ttyname(console)},
            start_new_session=True,
        )
        os.close(console)
        wait_until(self._booted, "systemd did not come up")

    def power_off(self) -> None:
        """Kill everything in there at once, as a power cut does; the file system stays."""
        if self._init is not None:
            self._init.kill()
            self._init.wait()
            self._init = None
        wait_until(lambda: not self._members(), "processes are left in the sandbox's control group")

    def reboot(self) -> None:
        """A power cut, and the next boot."""
        self.power_off()
        self.boot()

    def run(self, *command: str, check: bool = True, env: dict[str, str] | None = None) -> str:
        """Run a command inside and return what it printed."""
        done = subprocess.run(
            ["nsenter", "-t", str(self._pid), "-m", "-p", "-u", "-i", "--", *command],
            capture_output=True,
            text=True,
            timeout=WAIT_S * 2,
            check=False,
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", **(env or {})},
        )
        assert not check or done.returncode == 0, f"{command}: {done.returncode}: {done.stdout}{done.stderr}"
        return done.stdout

    def write(self, path: str, content: str, mode: int = 0o644) -> None:
        """Write a file inside."""
        target = Path(f"/proc/{self._pid}/root{path}")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(content)
        target.chmod(mode)

    def close(self) -> None:
        """Leave nothing: no process, no mount, no control group."""
        self.power_off()
        if self._holder is not None:
            self._holder.kill()
            self._holder.wait()
            assert self._holder.stdout is not None
            self._holder.stdout.close()
        wait_until(self._remove_cgroup, "the sandbox's control group can't be removed")

    @property
    def _log(self) -> Path:
        return self._directory.with_suffix(".log")

    @property
    def _upper(self) -> Path:
        assert self._holder is not None
        return Path(f"/proc/{self._holder.pid}/root{self._directory}/up")

    def _hide(self) -> None:
        """Whiteouts over what the machine itself has enabled."""
        for directory in (Path("/etc/systemd/system"), Path("/lib/systemd/system").resolve()):
            for wanted in directory.glob("*.wants"):
                hidden = self._upper / wanted.relative_to("/")
                hidden.mkdir(parents=True)
                os.setxattr(hidden, "trusted.overlay.opaque", b"y")

    def _booted(self) -> bool:
        assert self._init is not None
        assert self._init.poll() is None, f"systemd ended while it booted, see {self._log}"
        self._pid = self._find_init()
        if not self._pid:
            return False
        state = self.run("systemctl", "is-system-running", check=False).strip()
        return state in ("running", "degraded")

    def _find_init(self) -> int:
        for entry in Path("/proc").iterdir():
            with contextlib.suppress(OSError, ValueError, IndexError):
                stat = (entry / "stat").read_text()
                name, rest = (
                    stat[stat.index("(") + 1 : stat.rindex(")")],
                    stat[stat.rindex(")") + 2 :].split(),
                )
                if name == "systemd" and self._init is not None and int(rest[1]) == self._init.pid:
                    return int(entry.name)
        return 0

    def _members(self) -> list[int]:
        pids = list[int]()
        for procs in self._cgroup.rglob("cgroup.procs"):
            with contextlib.suppress(OSError):
                pids += [int(pid) for pid in procs.read_text().split()]
        return pids

    def _remove_cgroup(self) -> bool:
        for pid in self._members():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for directory, _, _ in os.walk(self._cgroup, topdown=False):
            with contextlib.suppress(OSError):
                Path(directory).rmdir()
        return not self._cgroup.exists()


def _drain(master: int, log: Path) -> None:
    """Keep what the console says, until everybody has closed it (EIO)."""
    with log.open("ab", buffering=0) as file, contextlib.suppress(OSError):
        while content := os.read(master, 65_536):
            file.write(content)
    os.close(master)


def wait_until(condition: Callable[[], object], otherwise: str, limit_s: float = WAIT_S) -> None:
    """Ask again and again until `condition` holds; fails with `otherwise`."""
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline, otherwise
        time.sleep(0.05)


def why_not() -> str | None:
    """Why no sandbox can be made here, with what would let it; None where it can."""
    if os.geteuid() != 0:
        return "needs root: sudo make test"
    if not Path("/lib/systemd/systemd").exists():
        return "needs systemd's binaries: bash deployments/install-test-needs.sh"
    missing = [name for name in ("unshare", "nsenter", "setpriv", "pivot_root") if shutil.which(name) is None]
    return f"needs {', '.join(missing)}: bash deployments/install-test-needs.sh" if missing else None


def _unified_hierarchy() -> Path:
    hybrid = Path("/sys/fs/cgroup/unified")
    return hybrid if hybrid.is_dir() else Path("/sys/fs/cgroup")


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[SystemdSandbox]:
    """A booted sandbox that sees this repository, its interpreter and the test's `tmp_path / "shared"`."""
    reason = why_not()
    if reason is not None:
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)
    shared = tmp_path / "shared"
    shared.mkdir()
    sandbox = SystemdSandbox(tmp_path / "sandbox", [shared, *_on_other_mounts()])
    try:
        sandbox.open()
        yield sandbox
    finally:
        sandbox.close()


def _on_other_mounts() -> list[Path]:
    """What the sandbox doesn't show by itself: the repository and the interpreter, where they lie on another file
    system than /, or where it has an empty directory of its own (a clone in /tmp, say).
    """
    import sys

    root = Path("/").stat().st_dev
    wanted = {ROOT, Path(sys.prefix).resolve(), Path(sys.base_prefix).resolve()}
    hidden = [Path(path) for path in ("/tmp", "/run", "/dev")]
    return sorted(
        path
        for path in wanted
        if path.stat().st_dev != root or any(path.is_relative_to(place) for place in hidden)
    )

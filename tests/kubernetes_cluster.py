"""A Kubernetes control plane of the tests' own: etcd, API server, controller manager and scheduler on loopback, RBAC on.

There is no kubelet: `tests.kubelet` plays it.
"""

import json
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.agents import ROOT, free_port
from tests.real_processes import wait_until

GET_ONE = "make kubernetes (bash deployments/kubernetes/build.sh)"
RBAC = ROOT / "deployments" / "kubernetes" / "agent-rbac.yaml"
AGENT = "system:serviceaccount:hoist:hoist-agent"
"""The user that the service account of agent-rbac.yaml is."""

_KUBECONFIG = """\
apiVersion: v1
kind: Config
clusters: [{{name: tests, cluster: {{server: "https://127.0.0.1:{port}", certificate-authority: {folder}/tls.crt}}}}]
users: [{{name: {user}, user: {{token: {token}}}}}]
contexts: [{{name: tests, context: {{cluster: tests, user: {user}}}}}]
current-context: tests
"""


def binaries() -> Path | None:
    """Where `make kubernetes` has put them; None where they are missing. HOME is a test's own, the cache isn't."""
    home = Path(pwd.getpwuid(os.getuid()).pw_dir)
    place = Path(os.environ.get("HOIST_KUBERNETES_DIR") or home / ".cache" / "hoist-kubernetes") / "bin"
    needed = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubectl")
    return place if all((place / name).exists() for name in needed) else None


class KubernetesCluster:
    """`admin` is an HTTP client that may do everything; the kubeconfigs are files."""

    def __init__(self, folder: Path, programs: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self._programs = programs
        self._etcd_port, self._peer_port = free_port(), free_port()
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._tokens = {user: secrets.token_hex(16) for user in ("admin", AGENT, "nobody")}
        self._make_certificates()
        lines = [
            f"{self._tokens['admin']},admin,admin,system:masters",
            f"{self._tokens[AGENT]},{AGENT},agent,system:serviceaccounts",
            f"{self._tokens['nobody']},nobody,nobody",
        ]
        (folder / "tokens.csv").write_text("\n".join(lines) + "\n")
        self.admin_kubeconfig = self.kubeconfig("admin")
        self.agent_kubeconfig = self.kubeconfig(AGENT)
        self.nobody_kubeconfig = self.kubeconfig("nobody")
        self.admin: Any = None

    def kubeconfig(self, user: str, port: int | None = None) -> Path:
        """A file for that user; `port`: of a proxy before the API server."""
        path = self.folder / f"kubeconfig-{user.rpartition(':')[2]}-{port or self.port}"
        text = _KUBECONFIG.format(
            port=port or self.port,
            folder=self.folder,
            user=user.rpartition(":")[2],
            token=self._tokens[user],
        )
        path.write_text(text)
        return path

    def start(self) -> "KubernetesCluster":
        """Everything, until it is ready and the agent's role is there."""
        self._start_etcd()
        self.start_api()
        self._start_controllers()
        self.kubectl("apply", "-f", str(RBAC))
        self._add_node()
        wait_until(lambda: self.admin.get("/api/v1/namespaces/default").status_code == 200)
        return self

    def start_api(self) -> None:
        """The API server alone (again), until it is ready."""
        f = self.folder
        self._run(
            "kube-apiserver",
            f"--etcd-servers=http://127.0.0.1:{self._etcd_port}",
            *("--bind-address=127.0.0.1", "--advertise-address=127.0.0.1", f"--secure-port={self.port}"),
            *("--insecure-port=0", "--anonymous-auth=false", "--authorization-mode=RBAC"),
            *(f"--tls-cert-file={f}/tls.crt", f"--tls-private-key-file={f}/tls.key"),
            f"--token-auth-file={f}/tokens.csv",
            "--service-account-issuer=https://kubernetes.default.svc",
            *(f"--service-account-key-file={f}/sa.pub", f"--service-account-signing-key-file={f}/sa.key"),
            *("--service-cluster-ip-range=10.96.0.0/16", "--endpoint-reconciler-type=none"),
            # Without kubelets no node gets ready by itself, and no service account's token is ever mounted.
            "--disable-admission-plugins=ServiceAccount,TaintNodesByCondition",
        )
        if self.admin is None:
            self.admin = httpx.Client(
                base_url=f"https://127.0.0.1:{self.port}",
                verify=str(f / "tls.crt"),
                headers={"Authorization": f"Bearer {self._tokens['admin']}"},
                trust_env=False,
                timeout=30,
            )
        wait_until(self._is_ready)

    def stop_api(self) -> None:
        """The API server alone, at once."""
        process = self._running.pop("kube-apiserver")
        process.kill()
        process.wait()

    def forget_history(self) -> None:
        """Have etcd forget every revision but the newest: what lists and watches go on from is gone."""
        etcd = f"http://127.0.0.1:{self._etcd_port}/v3/kv"
        found = httpx.post(f"{etcd}/range", json={"key": "AA=="}, trust_env=False).json()
        answer = httpx.post(
            f"{etcd}/compaction", json={"revision": found["header"]["revision"]}, trust_env=False
        )
        assert answer.status_code == 200, answer.text

    def kubectl(self, *arguments: str) -> str:
        """Run it as the admin; what it printed."""
        done = subprocess.run(
            [self._programs / "kubectl", f"--kubeconfig={self.admin_kubeconfig}", *arguments],
            capture_output=True,
            text=True,
            check=False,
            env={"HOME": str(self.folder), "PATH": os.environ["PATH"]},
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def create(self, path: str, document: dict[str, Any]) -> dict[str, Any]:
        """POST, as the admin."""
        answer = self.admin.post(path, json=document)
        assert answer.status_code == 201, answer.text
        return answer.json()

    def get(self, path: str, **query: str) -> dict[str, Any]:
        """GET, as the admin."""
        answer = self.admin.get(path, params=query)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def patch(self, path: str, changes: dict[str, Any]) -> dict[str, Any]:
        """A strategic merge patch, as the admin."""
        headers = {"Content-Type": "application/strategic-merge-patch+json"}
        answer = self.admin.patch(path, content=json.dumps(changes), headers=headers)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def namespace(self, name: str) -> str:
        """A new namespace, in which the agent may deploy."""
        self.create("/api/v1/namespaces", {"metadata": {"name": name}})
        self.kubectl(
            *("create", "rolebinding", "hoist-agent-deploy", f"--namespace={name}"),
            *("--clusterrole=hoist-agent-deploy", "--serviceaccount=hoist:hoist-agent"),
        )
        return name

    def stop(self) -> None:
        """End all of it, the API server before its store."""
        if self.admin is not None:
            self.admin.close()
        for name in ("kube-scheduler", "kube-controller-manager", "kube-apiserver", "etcd"):
            process = self._running.pop(name, None)
            if process is None:
                continue
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _start_etcd(self) -> None:
        peer = f"http://127.0.0.1:{self._peer_port}"
        client = f"http://127.0.0.1:{self._etcd_port}"
        self._run(
            "etcd",
            *("--data-dir", str(self.folder / "etcd"), "--unsafe-no-fsync"),
            *("--listen-client-urls", client, "--advertise-client-urls", client),
            *("--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer),
            *("--initial-cluster", f"default={peer}"),
        )

    def _start_controllers(self) -> None:
        shared = [f"--kubeconfig={self.admin_kubeconfig}", "--bind-address=127.0.0.1", "--port=0"]
        self._run(
            "kube-controller-manager",
            *shared,
            *(f"--secure-port={free_port()}", "--leader-elect=false"),
            f"--service-account-private-key-file={self.folder}/sa.key",
            # Nodes that nobody reports for would be marked as lost, and their pods evicted.
            "--controllers=*,-nodelifecycle",
        )
        self._run("kube-scheduler", *shared, f"--secure-port={free_port()}", "--leader-elect=false")

    def _add_node(self) -> None:
        room = {"cpu": "64", "memory": "256Gi", "pods": "2000"}
        self.create("/api/v1/nodes", {"metadata": {"name": "node-1"}})
        ready = {"type": "Ready", "status": "True", "reason": "KubeletReady"}
        self.patch(
            "/api/v1/nodes/node-1/status",
            {"status": {"capacity": room, "allocatable": room, "conditions": [ready]}},
        )

    def _run(self, program: str, *arguments: str) -> None:
        with (self.folder / f"{program}.log").open("ab") as log:
            self._running[program] = subprocess.Popen(
                [self._programs / program, *arguments],
                cwd=self.folder,
                env={"HOME": str(self.folder), "PATH": os.environ["PATH"]},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def _is_ready(self) -> bool:
        for program, process in self._running.items():
            log = self.folder / f"{program}.log"
            assert process.poll() is None, f"{program} ended: {log.read_text()[-3000:]}"
        try:
            return self.admin.get("/readyz").text == "ok"
        except httpx.HTTPError:
            return False

    def _make_certificates(self) -> None:
        f = self.folder
        _openssl("genrsa", "-out", f / "sa.key", "2048")
        _openssl("rsa", "-in", f / "sa.key", "-pubout", "-out", f / "sa.pub")
        _openssl(
            *("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30", "-subj", "/CN=localhost"),
            *("-keyout", f / "tls.key", "-out", f / "tls.crt"),
            *("-addext", "subjectAltName=DNS:localhost,DNS:kubernetes,IP:127.0.0.1"),
            *("-addext", "basicConstraints=critical,CA:TRUE"),
        )


def _openssl(*arguments: Any) -> None:
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)


@pytest.fixture(scope="session")
def kubernetes() -> Iterator[KubernetesCluster]:
    """The session's cluster."""
    programs = binaries()
    if programs is None:
        reason = f"there is no Kubernetes to start: {GET_ONE}"
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)
    folder = Path(tempfile.mkdtemp(prefix="hoist-kubernetes-"))
    cluster = KubernetesCluster(folder, programs)
    try:
        yield cluster.start()
    finally:
        cluster.stop()
        shutil.rmtree(folder, ignore_errors=True)

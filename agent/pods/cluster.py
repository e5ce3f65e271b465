"""The cluster that this agent has access to, by the official client: opened on first use, for that costs memory.

Only the client's foundation is used (configuration, credentials, TLS, connections), with the API's own paths and JSON: its
generated models would cost 80 MB more, and refuse what servers older or newer than they are leave out or add.
"""

import json
import os
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agent.pods.errors import ClusterError, ClusterRefused, ClusterUnavailable, NoCluster

if TYPE_CHECKING:
    from kubernetes.client.api_client import ApiClient
    from urllib3.response import BaseHTTPResponse

CONNECT_TIMEOUT_S = 5.0
READ_TIMEOUT_S = 10.0
VERSION_TIMEOUT_S = 2.0
VERSION_KEPT_S = 60.0
FAILURE_KEPT_S = 5.0
"""How long "it has no version" is believed: a dead cluster slows no two answers in a row, and one that came back is soon seen."""
MERGE_PATCH = "application/strategic-merge-patch+json"

Query = Sequence[tuple[str, str]]
Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Question:
    """One request. `what` it does, for messages; `timeout_s`: how long the cluster may be silent."""

    what: str
    method: str
    path: str
    query: Query
    body: Document | None
    timeout_s: float


class Cluster:
    """Safe for threads. `kubeconfig` None: the service account of the pod that the agent runs in, where it does."""

    def __init__(self, kubeconfig: Path | None = None, environ: Mapping[str, str] = os.environ) -> None:
        self._kubeconfig = kubeconfig
        self._in_cluster = bool(environ.get("KUBERNETES_SERVICE_HOST"))
        self._client: ApiClient | None = None
        self._lock = threading.Lock()
        self._version: tuple[float, str | None] = (0.0, None)

    @property
    def configured(self) -> bool:
        """Whether the agent was given a cluster at all."""
        return self._kubeconfig is not None or self._in_cluster

    def get(
        self, what: str, path: str, query: Query = (), read_timeout_s: float = READ_TIMEOUT_S
    ) -> Document:
        """The document at `path`. `what` is being done, for messages: "list pods in namespace shop".

        Raises ClusterUnavailable, ClusterRefused, NoCluster.
        """
        return self._document(_Question(what, "GET", path, query, None, read_timeout_s))

    def patch(self, what: str, path: str, changes: Document) -> Document:
        """The document after a strategic merge patch. Raises as `get`; may have been done where it is unavailable."""
        return self._document(_Question(what, "PATCH", path, (), changes, READ_TIMEOUT_S))

    @contextmanager
    def stream(self, what: str, path: str, query: Query, silence_s: float) -> Iterator["BaseHTTPResponse"]:
        """An answer without end, read line by line; after `silence_s` seconds of silence it is unavailable. Raises as `get`."""
        self._check_configured()
        with _unreachable_as_unavailable():
            response = self._ask(_Question(what, "GET", path, query, None, silence_s))
            try:
                yield response
            finally:
                response.close()

    def version(self) -> str | None:
        """The API server's version (v1.20.2); None where there is none that answers soon. Asked once a minute."""
        believed_until, text = self._version
        if time.monotonic() < believed_until:
            return text
        kept_s = FAILURE_KEPT_S
        text = None
        if self.configured:
            try:
                found = self.get("ask its version", "/version", (), VERSION_TIMEOUT_S)
                text, kept_s = str(found.get("gitVersion", "unknown"))[:100], VERSION_KEPT_S
            except ClusterError:
                pass
        self._version = (time.monotonic() + kept_s, text)
        return text

    def _check_configured(self) -> None:
        if not self.configured:
            raise NoCluster("this agent knows none (HOIST_AGENT_KUBECONFIG), and does not run in one")

    def _document(self, question: _Question) -> Document:
        self._check_configured()
        with _unreachable_as_unavailable():
            content = self._ask(question).data
        try:
            document = json.loads(content)
        except ValueError:
            document = None
        if not isinstance(document, dict):
            raise ClusterUnavailable("what answers there is no Kubernetes API")
        return document

    def _ask(self, question: _Question) -> "BaseHTTPResponse":
        response = self._send(question)
        if response.status == 401:
            self._close()  # the credentials may have been exchanged: they are read anew, once
            response = self._send(question)
        if 200 <= response.status < 300:
            return response
        raise _refusal(question.what, response)

    def _send(self, question: _Question) -> "BaseHTTPResponse":
        client, body = self._open(), question.body
        headers = {"Accept": "application/json"} | ({"Content-Type": MERGE_PATCH} if body else {})
        query = list(question.query)
        request = client.param_serialize(
            question.method, question.path, None, query, headers, body, auth_settings=["BearerToken"]
        )
        timeouts = (min(CONNECT_TIMEOUT_S, question.timeout_s), question.timeout_s)
        response: BaseHTTPResponse = client.call_api(*request, _request_timeout=timeouts).response
        return response

    def _open(self) -> "ApiClient":
        with self._lock:
            if self._client is None:
                self._client = _new_client(self._kubeconfig)
            return self._client

    def _close(self) -> None:
        """The next request reads the configuration anew. Requests that are under way go on."""
        with self._lock:
            self._client = None


def _new_client(kubeconfig: Path | None) -> "ApiClient":
    from kubernetes.client.api_client import ApiClient
    from kubernetes.client.configuration import Configuration
    from kubernetes.config.config_exception import ConfigException
    from kubernetes.config.incluster_config import load_incluster_config
    from kubernetes.config.kube_config import load_kube_config

    configuration = Configuration()
    configuration.retries = False  # urllib3's "none"; who asks decides what is tried again
    try:
        if kubeconfig is None:
            load_incluster_config(configuration)  # type: ignore[no-untyped-call]
        else:
            load_kube_config(  # type: ignore[no-untyped-call]
                str(kubeconfig), client_configuration=configuration, persist_config=False
            )
        return ApiClient(configuration)
    except Exception as error:  # noqa: BLE001 (it is raised as what it means)
        place = kubeconfig or "the pod's service account"
        # Not every error's text: a parser quotes the lines around, and tokens are in them.
        said = str(error) if isinstance(error, ConfigException | OSError) else type(error).__name__
        raise NoCluster(f"cannot use {place}: {said}"[:500]) from None


@contextmanager
def _unreachable_as_unavailable() -> Iterator[None]:
    import urllib3.exceptions
    from kubernetes.client.exceptions import ApiException

    try:
        yield
    except ApiException as error:  # of TLS alone: statuses are looked at here
        raise ClusterUnavailable(_why(error.reason or "TLS")) from error
    except (urllib3.exceptions.HTTPError, ConnectionError, TimeoutError) as error:
        raise ClusterUnavailable(_why(f"{type(error).__name__}: {error}")) from error


def _refusal(what: str, response: "BaseHTTPResponse") -> Exception:
    try:
        status = json.loads(response.data)
        message = str(status["message"])
    except (ValueError, KeyError, TypeError):
        message = str(response.reason or "no reason given")
    if response.status >= 500 or response.status == 429 or response.status < 400:
        return ClusterUnavailable(f"it answers {response.status}: {message}"[:500])
    if response.status == 403:
        message = f"the cluster's RBAC forbids it: {message}"
    if response.status == 401:
        message = "the cluster does not accept the agent's credentials"
    return ClusterRefused(response.status, what, message)


def _why(text: str) -> str:
    for sign, why in (
        ("ReadTimeoutError", "it does not answer in time"),
        ("ConnectTimeoutError", "it does not answer in time"),
        ("Connection refused", "nothing listens there"),
        ("CERTIFICATE_VERIFY_FAILED", "its certificate is not to be trusted"),
    ):
        if sign in text:
            return why
    return text.replace("\n", " ")[:300]

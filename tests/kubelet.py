"""Plays the kubelet: says of pods what a node would say of them, and lets go of those that are to be deleted."""

import contextlib
import threading
from typing import Any, Self

import httpx

from tests.kubernetes_cluster import KubernetesCluster

AT = "2030-01-02T03:04:05Z"

Document = dict[str, Any]


def pod(name: str, image: str = "shop:1.0", **labels: str) -> Document:
    """A pod that no scheduler looks at."""
    return {
        "metadata": {"name": name, "labels": labels},
        "spec": {"schedulerName": "nobody", "containers": [{"name": "app", "image": image}]},
    }


def status(kind: str, image: str = "shop:1.0", container: str = "app") -> Document:
    """A pod's status: running, starting, crashing, out_of_memory, image_missing, done, failed."""
    ended = {"startedAt": AT, "finishedAt": AT}
    states: dict[str, Document] = {
        "running": {"state": {"running": {"startedAt": AT}}, "ready": True, "started": True},
        "starting": {"state": {"waiting": {"reason": "ContainerCreating"}}},
        "crashing": {
            "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 40s"}},
            "lastState": {"terminated": {"reason": "Error", "exitCode": 3, **ended}},
            "restartCount": 4,
        },
        "out_of_memory": {
            "state": {"terminated": {"reason": "OOMKilled", "exitCode": 137, **ended}},
            "lastState": {"terminated": {"reason": "OOMKilled", "exitCode": 137, **ended}},
            "restartCount": 2,
        },
        "image_missing": {"state": {"waiting": {"reason": "ImagePullBackOff"}}},
        "done": {"state": {"terminated": {"reason": "Completed", "exitCode": 0, **ended}}},
        "failed": {"state": {"terminated": {"reason": "Error", "exitCode": 1, **ended}}},
    }
    phases = {"starting": "Pending", "image_missing": "Pending", "done": "Succeeded", "failed": "Failed"}
    ready = "True" if kind == "running" else "False"
    own = {"name": container, "image": image, "imageID": "", "ready": False, "restartCount": 0}
    return {
        "phase": phases.get(kind, "Running"),
        "startTime": AT,
        "hostIP": "127.0.0.1",
        "podIP": "10.1.2.3",
        "conditions": [{"type": one, "status": ready} for one in ("Ready", "ContainersReady")],
        "containerStatuses": [own | states[kind]],
    }


class Kubelet:
    """Gives every pod of a namespace that is on a node the status that its image has in `images`; else it runs."""

    def __init__(self, cluster: KubernetesCluster, namespace: str, **images: str) -> None:
        self._cluster = cluster
        self._path = f"/api/v1/namespaces/{namespace}/pods"
        self.images = dict(images)
        """An image's tag → how its pods do: see `status`. May be changed at any time."""
        self.retagged: dict[str, str] = {}
        """An image → another tag of the same one, which is the first that the node has."""
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self._thread.join(30)

    def _run(self) -> None:
        while not self._ending.wait(0.1):
            # The API server may be away, or have changed the pod meanwhile.
            with contextlib.suppress(httpx.HTTPError, AssertionError, KeyError):
                for found in self._cluster.get(self._path)["items"]:
                    self._look_after(found)

    def _look_after(self, found: Document) -> None:
        path = f"{self._path}/{found['metadata']['name']}"
        if found["metadata"].get("deletionTimestamp"):
            self._cluster.admin.delete(path, params={"gracePeriodSeconds": "0"})
            return
        if not found["spec"].get("nodeName"):
            return
        container = found["spec"]["containers"][0]
        kind = self.images.get(container["image"].rpartition(":")[2], "running")
        wanted = status(kind, self._called(container["image"]), container["name"])
        if (
            found["status"].get("containerStatuses", [{}])[0].get("state")
            != wanted["containerStatuses"][0]["state"]
        ):
            self._cluster.patch(f"{path}/status", {"status": wanted})

    def _called(self, image: str) -> str:
        """As containerd does: by the first tag that it has of the image, in full."""
        name = self.retagged.get(image, image)
        return name if "/" in name else f"docker.io/library/{name}"

"""A real agent with access to the tests' cluster, and a Deployment that it brings to versions."""

from pathlib import Path
from typing import Any

from tests.agents import AgentProcess
from tests.kubernetes_cluster import KubernetesCluster

DEPLOY = "/v1/commands/kubernetes.deploy"


def deployment(name: str, replicas: int, image: str = "shop:1.0", **spec: Any) -> dict[str, Any]:
    """One whose pods a second container does not disturb."""
    labels = {"app": name}
    return {
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "progressDeadlineSeconds": 4,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [{"name": "app", "image": image}]},
            },
            **spec,
        },
    }


class KubernetesAgent(AgentProcess):
    """`deploy()` brings the Deployment `web` to a version of the image `shop`."""

    def __init__(self, folder: Path, cluster: KubernetesCluster, namespace: str, **settings: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        kubeconfig = {"HOIST_AGENT_KUBECONFIG": str(cluster.agent_kubeconfig)}
        super().__init__(folder, **{**kubeconfig, **settings})
        self.cluster = cluster
        self.namespace = namespace
        self.path = f"/apis/apps/v1/namespaces/{namespace}/deployments"

    def create(self, replicas: int = 2, name: str = "web", **more: Any) -> None:
        """The Deployment, complete."""
        self.cluster.create(self.path, deployment(name, replicas, **more))

    def request(self, execution_id: str, version: str, **fields: Any) -> dict[str, Any]:
        config = {
            "namespace": self.namespace,
            "deployment": "web",
            "image": f"shop:{version}",
            **fields.pop("config", {}),
        }
        return {
            "execution_id": execution_id,
            "release_id": "task-1",
            "project_id": "shop",
            "target_id": "target-1",
            "operation": "deploy",
            "version": version,
            "kubernetes_config": config,
            "timeout_s": 60,
            **fields,
        }

    def begin(self, execution_id: str, version: str, **fields: Any) -> dict[str, Any]:
        response = self.post(DEPLOY, self.request(execution_id, version, **fields))
        assert response.status_code in (200, 202), response.text
        return response.json()

    def deploy(self, execution_id: str, version: str, **fields: Any) -> dict[str, Any]:
        """Deploy, and wait for the end."""
        self.begin(execution_id, version, **fields)
        return self.end_of(execution_id)

    def now(self, name: str = "web") -> dict[str, Any]:
        """The Deployment as the cluster has it."""
        return self.cluster.get(f"{self.path}/{name}")

    def image(self, name: str = "web") -> str:
        return str(self.now(name)["spec"]["template"]["spec"]["containers"][0]["image"])

    def marks(self) -> dict[str, str]:
        """What the agent noted at the Deployment."""
        found = self.now()["metadata"].get("annotations", {})
        return {name: text for name, text in found.items() if name.startswith("hoist.")}

    def change(self, **spec: Any) -> None:
        """As somebody else."""
        self.cluster.patch(f"{self.path}/web", {"spec": spec})

    def is_complete(self) -> bool:
        now = self.now()
        status, wanted = now.get("status", {}), now["spec"]["replicas"]
        seen = status.get("observedGeneration", 0) >= now["metadata"]["generation"]
        return seen and status.get("replicas") == status.get("availableReplicas") == wanted

    def pods(self) -> dict[str, str]:
        """The namespace's pods, name → image."""
        found = self.cluster.get(f"/api/v1/namespaces/{self.namespace}/pods")["items"]
        return {one["metadata"]["name"]: one["spec"]["containers"][0]["image"] for one in found}

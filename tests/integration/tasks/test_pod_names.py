"""Whose a pod is by its name, as a real cluster makes one of its Deployment's."""

import pytest

from agent.pods.cluster import Cluster
from agent.pods.listing import Selection, list_pods
from tasks.decisions.pod_evidence import TEMPLATE_HASH, pods_of
from tests.integration.agent.kubernetes_agent import deployment
from tests.kubernetes_cluster import KubernetesCluster
from tests.real_processes import wait_until


@pytest.mark.parametrize("length", [9, 46, 47, 57, 58, 63, 100])
def test_pods_are_their_deployment_s_however_long_its_name_is(kubernetes: KubernetesCluster, length):
    namespace = kubernetes.namespace(f"named-{length}")
    path = f"/apis/apps/v1/namespaces/{namespace}/deployments"
    name = "shop" + "-" * (length - 8) + "prod"
    kubernetes.create(path, deployment("own", 2) | {"metadata": {"name": name}})
    kubernetes.create(path, deployment("other", 2))
    cluster = Cluster(kubernetes.agent_kubeconfig)
    selection = Selection(namespace, TEMPLATE_HASH)
    pods = wait_until(lambda: len(found := list_pods(cluster, selection).pods) == 4 and found)
    mine = tuple(pod for pod in pods if pod.labels["app"] == "own")
    assert len(mine) == 2
    assert pods_of(name, pods) == mine
    kubernetes.kubectl("delete", "deployments", "--all", f"--namespace={namespace}", "--wait=false")

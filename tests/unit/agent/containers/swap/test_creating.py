"""A version's deploy_config as the engine takes it; the SDK's client only shapes it, and is never connected."""

from typing import Any

import docker
import pytest

from agent.containers.swap.creating import arguments_of, labels_of, restart_policy_of
from agent.wire.containers import ContainerDeployRequest, DeployConfig


def arguments(**config: Any) -> dict[str, Any]:
    api = docker.APIClient(base_url="unix:///nowhere/docker.sock", version="1.41")
    return arguments_of(api, DeployConfig.model_validate({"image": "shop:1", **config}))


def request(**fields: Any) -> ContainerDeployRequest:
    values = {
        "execution_id": "e1",
        "project_id": "shop",
        "version": "1.0",
        "naming": {"prefix": "shop"},
        "deploy_config": {"image": "shop:1", "stop_timeout_s": 7},
        **fields,
    }
    return ContainerDeployRequest.model_validate(values)


def test_labels_say_whose_it_is_and_how_it_is_stopped():
    assert labels_of(request(release_id="task-1", environment="prod"), "web-1") == {
        "hoist.project": "shop",
        "hoist.client": "web-1",
        "hoist.execution": "e1",
        "hoist.version": "1.0",
        "hoist.restart_policy": "unless-stopped:0",
        "hoist.stop_timeout_s": "7",
        "hoist.deploy_task": "task-1",
        "hoist.environment": "prod",
    }


def test_label_without_a_value_is_left_out():
    assert not {"hoist.deploy_task", "hoist.environment"} & labels_of(request(), "web-1").keys()


def test_credentials_are_in_no_label_and_no_argument():
    secret = request(registry_auth={"username": "robot-1", "password": "hunter2"})
    made = repr(labels_of(secret, "web-1")) + repr(arguments())
    assert "hunter2" not in made
    assert "robot-1" not in made


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ({"name": "no"}, {"Name": "no"}),
        ({"name": "always"}, {"Name": "always"}),
        ({"name": "on-failure"}, {"Name": "on-failure", "MaximumRetryCount": 0}),
        ({"name": "on-failure", "max_retries": 4}, {"Name": "on-failure", "MaximumRetryCount": 4}),
    ],
)
def test_restart_policy_is_the_same_in_the_container_and_out_of_its_label(policy, expected):
    made = request(deploy_config={"image": "shop:1", "restart_policy": policy})
    assert restart_policy_of(labels_of(made, "web-1")["hoist.restart_policy"]) == expected
    assert arguments(restart_policy=policy)["host_config"]["RestartPolicy"] == expected


@pytest.mark.parametrize("label", ["no", "always:", "on-failure:x"])
def test_label_that_somebody_changed_gives_a_policy_without_retries(label):
    assert restart_policy_of(label) == {"Name": label.partition(":")[0]}


def test_ports_are_published_where_they_are_to_be():
    made = arguments(
        ports=[
            {"container_port": 80, "host_port": 8080, "host_ip": "127.0.0.1"},
            {"container_port": 80, "host_port": 8081},
            {"container_port": 53, "protocol": "udp"},
        ]
    )
    assert made["ports"] == [(80, "tcp"), (80, "tcp"), (53, "udp")]
    bound = made["host_config"]["PortBindings"]
    assert bound["80/tcp"] == [
        {"HostIp": "127.0.0.1", "HostPort": "8080"},
        {"HostIp": "0.0.0.0", "HostPort": "8081"},
    ]
    assert [place["HostPort"] for place in bound["53/udp"]] == [""]


def test_absolute_source_is_a_directory_and_any_other_a_volume():
    made = arguments(
        volumes=[
            {"source": "/srv/data", "target": "/data", "read_only": True},
            {"source": "cache", "target": "/cache"},
        ]
    )
    mounts = made["host_config"]["Mounts"]
    assert [(one["Type"], one["Source"], one["Target"], one["ReadOnly"]) for one in mounts] == [
        ("bind", "/srv/data", "/data", True),
        ("volume", "cache", "/cache", False),
    ]


def test_limits_are_in_the_engines_units():
    host = arguments(resources={"cpus": 0.5, "memory": 64 * 1024**2, "pids": 50})["host_config"]
    assert (host["NanoCpus"], host["Memory"], host["PidsLimit"]) == (500_000_000, 64 * 1024**2, 50)
    without = arguments()["host_config"]
    assert not {"NanoCpus", "Memory", "PidsLimit"} & without.keys()


def test_log_is_bounded_unless_it_is_said_otherwise():
    bounded = arguments()["host_config"]["LogConfig"]
    assert bounded == {"Type": "json-file", "Config": {"max-size": "10m", "max-file": "3"}}
    other = arguments(log={"driver": "journald"})["host_config"]["LogConfig"]
    assert other == {"Type": "journald", "Config": {}}


@pytest.mark.parametrize(
    ("command", "test"),
    [
        ("curl -f localhost", ["CMD-SHELL", "curl -f localhost"]),
        (["/app", "health"], ["CMD", "/app", "health"]),
    ],
)
def test_health_check_is_in_nanoseconds(command, test):
    check = {"command": command, "interval_s": 1.5, "timeout_s": 0.5, "retries": 7, "start_period_s": 2}
    assert arguments(health_check=check)["healthcheck"] == {
        "test": test,
        "interval": 1_500_000_000,
        "timeout": 500_000_000,
        "retries": 7,
        "start_period": 2_000_000_000,
    }
    assert arguments()["healthcheck"] is None


@pytest.mark.parametrize("network", ["host", "none", "bridge"])
def test_network_of_the_engines_own_is_a_mode(network):
    made = arguments(networks=[{"name": network}])
    assert made["host_config"]["NetworkMode"] == network
    assert made["networking_config"] is None


def test_first_network_is_joined_without_its_aliases():
    made = arguments(networks=[{"name": "front", "aliases": ["shop"]}, {"name": "back"}])
    assert made["host_config"]["NetworkMode"] == "front"
    assert made["networking_config"]["EndpointsConfig"] == {"front": {}}


def test_words_stay_words_and_what_is_not_said_is_the_images():
    made = arguments(
        command=["serve", "--port", "80 81"], entrypoint=["/app"], user="1000:1000", env={"A": "b"}
    )
    assert (made["command"], made["entrypoint"]) == (["serve", "--port", "80 81"], ["/app"])
    assert (made["user"], made["environment"]) == ("1000:1000", {"A": "b"})
    plain = arguments()
    assert (plain["command"], plain["entrypoint"], plain["user"]) == (None, None, None)

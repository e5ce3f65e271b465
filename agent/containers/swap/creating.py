"""A version's `deploy_config` as the engine takes it."""

from typing import TYPE_CHECKING, Any

from agent.wire.containers import ContainerDeployRequest, DeployConfig, HealthCheck, RestartPolicy

if TYPE_CHECKING:
    from docker import APIClient

NS_PER_S = 1_000_000_000
PROJECT, CLIENT, EXECUTION = "hoist.project", "hoist.client", "hoist.execution"
VERSION, RESTART, STOP_TIMEOUT = "hoist.version", "hoist.restart_policy", "hoist.stop_timeout_s"
RELEASE = "hoist.deploy_task"


def labels_of(request: ContainerDeployRequest, client_id: str) -> dict[str, str]:
    """What Hoist knows its containers by: nothing without these labels is ever stopped or removed."""
    policy = request.deploy_config.restart_policy
    labels = {
        PROJECT: request.project_id,
        CLIENT: client_id,
        EXECUTION: request.execution_id,
        VERSION: request.version,
        RESTART: f"{policy.name}:{policy.max_retries}",
        STOP_TIMEOUT: str(request.deploy_config.stop_timeout_s),
        RELEASE: request.release_id,
        "hoist.environment": request.environment,
    }
    return {name: value for name, value in labels.items() if value is not None}


def restart_policy_of(label: str) -> dict[str, Any]:
    """The engine's restart policy that a container was made with."""
    name, _, retries = label.partition(":")
    policy: dict[str, Any] = {"Name": name}
    return policy | (
        {"MaximumRetryCount": int(retries)} if name == "on-failure" and retries.isdigit() else {}
    )


def arguments_of(api: "APIClient", config: DeployConfig) -> dict[str, Any]:
    """Everything of `create_container` but its name and labels. The first network is joined, without its aliases."""
    from docker.types import LogConfig

    first = config.networks[0].name if config.networks else None
    host = api.create_host_config(
        port_bindings=_bindings(config),
        mounts=_mounts(config),
        restart_policy=_policy(config.restart_policy),
        nano_cpus=round(config.resources.cpus * NS_PER_S) if config.resources.cpus else None,
        mem_limit=config.resources.memory,
        pids_limit=config.resources.pids,
        log_config=LogConfig(type=config.log.driver, config=config.log.options_or_default()),
        network_mode=first,
    )
    named = first if first not in (None, "host", "none", "bridge") else None
    return {
        "image": config.image,
        "command": _words(config.command),
        "entrypoint": _words(config.entrypoint),
        "user": config.user,
        "environment": dict(config.env),
        "ports": [(port.container_port, port.protocol) for port in config.ports],
        "healthcheck": _health(config.health_check) if config.health_check else None,
        "host_config": host,
        "networking_config": (
            api.create_networking_config({named: api.create_endpoint_config()}) if named else None
        ),
    }


def _words(words: tuple[str, ...] | None) -> list[str] | None:
    return None if words is None else list(words)


def _policy(policy: RestartPolicy) -> dict[str, Any]:
    return restart_policy_of(f"{policy.name}:{policy.max_retries}")


def _bindings(config: DeployConfig) -> dict[str, list[tuple[str, int | None]]]:
    bindings: dict[str, list[tuple[str, int | None]]] = {}
    for port in config.ports:
        bindings.setdefault(f"{port.container_port}/{port.protocol}", []).append(
            (port.host_ip, port.host_port)
        )
    return bindings


def _mounts(config: DeployConfig) -> list[Any]:
    from docker.types import Mount

    return [
        Mount(
            target=volume.target,
            source=volume.source,
            type="bind" if volume.source.startswith("/") else "volume",
            read_only=volume.read_only,
        )
        for volume in config.volumes
    ]


def _health(check: HealthCheck) -> dict[str, Any]:
    command = check.command
    return {
        "test": ["CMD-SHELL", command] if isinstance(command, str) else ["CMD", *command],
        "interval": round(check.interval_s * NS_PER_S),
        "timeout": round(check.timeout_s * NS_PER_S),
        "retries": check.retries,
        "start_period": round(check.start_period_s * NS_PER_S),
    }

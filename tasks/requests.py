"""What is asked of an agent for one client: its script to run, its container to put in place, its image to set."""

from agent.wire.containers import ContainerDeployRequest, RegistryAuth
from agent.wire.executions import ExecuteRequest
from agent.wire.pods import KubernetesConfig, KubernetesDeployRequest
from tasks.decisions.deployment_names import deployment_name
from tasks.recipes import ContainerRecipe, KubernetesRecipe, ScriptRecipe
from tasks.rollout import ClientRun, Rollout


def execute_request(rollout: Rollout, run: ClientRun, recipe: ScriptRecipe) -> ExecuteRequest:
    """`release.execute` for the client."""
    work, release = run.work, rollout.release
    return ExecuteRequest(
        execution_id=run.execution_id,
        release_id=release.deploy_task_id,
        project_id=release.project_id,
        target_id=work.target_id,
        operation=release.operation,
        version=work.to_version,
        script=recipe.script,
        work_dir=recipe.work_dir,
        previous_version=work.from_version,
        env=recipe.env,
        timeout_s=recipe.timeout_s,
        interpreter=recipe.interpreter,
        run_as=recipe.run_as,
        detach_process=recipe.detach_process,
        detach_method=recipe.detach_method,
    )


def deploy_request(
    rollout: Rollout, run: ClientRun, recipe: ContainerRecipe, auth: RegistryAuth | None
) -> ContainerDeployRequest:
    """`container.deploy` for the client: under the name that was shown, or the next one where that is taken by then."""
    work, release = run.work, rollout.release
    kept = {} if recipe.keep_previous is None else {"keep_previous": recipe.keep_previous}
    return ContainerDeployRequest(
        execution_id=run.execution_id,
        release_id=release.deploy_task_id,
        project_id=release.project_id,
        target_id=work.target_id,
        operation=release.operation,
        version=work.to_version,
        previous_version=work.from_version,
        deploy_config=recipe.deploy_config,
        name=run.container_name,
        naming=recipe.naming,
        environment=work.environment,
        stable_for_s=release.strategy.stable_for_s,
        timeout_s=recipe.timeout_s,
        registry_auth=auth,
        **kept,
    )


def kubernetes_request(rollout: Rollout, run: ClientRun, recipe: KubernetesRecipe) -> KubernetesDeployRequest:
    """`kubernetes.deploy` for the client. Raises NamingError."""
    work, release, config = run.work, rollout.release, recipe.config
    return KubernetesDeployRequest(
        execution_id=run.execution_id,
        release_id=release.deploy_task_id,
        project_id=release.project_id,
        target_id=work.target_id,
        operation=release.operation,
        version=work.to_version,
        previous_version=work.from_version,
        kubernetes_config=KubernetesConfig(
            namespace=config.namespace,
            deployment=deployment_name(config, recipe.naming, work.environment),
            container=config.container,
            image=recipe.image,
            replicas=config.replicas,
        ),
        progress_deadline_s=config.progress_deadline_s,
        timeout_s=recipe.timeout_s,
    )

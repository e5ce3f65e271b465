"""What an agent is asked to watch of a version."""

from agent.wire.monitors import PutMonitor
from agent.wire.pods import PodCollectRequest
from agent.wire.processes import ProcessConfig
from db.documents.evidence import EvidenceConfig


def make_monitor(
    *,
    version: str,
    release_id: str,
    process_config: ProcessConfig | None,
    evidence: EvidenceConfig,
    work_dir: str | None,
    run_as: str | None,
    containers: bool,
    pods_in: str | None = None,
) -> PutMonitor:
    """`alert_for_s` is the release API's business, and stays here. `pods_in`: the namespace whose pods are reported."""
    return PutMonitor(
        version=version,
        release_id=release_id,
        process_config=(process_config or ProcessConfig()).model_copy(update={"alert_for_s": None}),
        version_probe=evidence.version_probe,
        work_dir=work_dir,
        run_as=run_as,
        containers=containers,
        pods=PodCollectRequest(namespace=pods_in) if pods_in is not None else None,
    )

"""How far a rollout is: on disk before each step, so that an agent that died goes on from there."""

from pydantic import Field

from agent.executions.steps import Progress


class RolloutProgress(Progress):
    """Phases: begin, change, wait, finish; revert where it failed; scale_down of an uninstall.

    `before_…`: what the Deployment was like; `target_replicas`: how many it gets, None: it keeps its own; `set_image`: what
    the cluster made of the image that was set (an admission webhook may name its digest instead). `stale` and
    `changed_at` (Unix time; 0: nothing was changed): see `judge`; of the undoing once `put_back`. `trouble`: what was wrong
    with the new pods, seen before they were taken away. `revision`, `replicas`, `ready`, `undone`: for the answer.
    """

    container: str | None = None
    before_image: str | None = None
    before_replicas: int = 0
    before_deadline_s: int | None = None
    before_annotations: dict[str, str | None] = Field(default_factory=dict)
    target_replicas: int | None = None
    set_image: str | None = None
    stale: str | None = None
    changed_at: float = 0
    put_back: bool = False
    trouble: tuple[str, ...] | None = None
    revision: int | None = None
    replicas: int = 0
    ready: int = 0
    undone: bool | None = None

"""The rollout itself, as it is told: set the image, wait until the cluster says that it is through, else put back what was there."""

import time
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from agent.executions.steps import StepFailed, Steps
from agent.pods.cluster import Document
from agent.pods.errors import ClusterError, ClusterUnavailable
from agent.pods.rollout import reading
from agent.pods.rollout.dock import Dock
from agent.pods.rollout.progress import RolloutProgress
from agent.pods.rollout.verdict import Verdict, available_replicas, failed_at, judge, wanted_replicas
from agent.wire.executions import DeployedKubernetes
from agent.wire.pods import KubernetesDeployRequest

T = TypeVar("T")
A = ParamSpec("A")
POLL_S = 0.5
REVERT_PATIENCE_S = 120.0
"""How long a cluster that is down is waited for where something has to be put back."""
UNDO_WITHIN_S = 900.0
"""How long the rollout back may take, where the Deployment has no shorter deadline itself."""
MOST_TROUBLES = 5


class Rollout:
    """One Kubernetes deployment. Every step may be done again: it looks at what the cluster really has."""

    def __init__(
        self, request: KubernetesDeployRequest, dock: Dock, steps: Steps[RolloutProgress], client_id: str
    ) -> None:
        self._request = request
        self._config = request.kubernetes_config
        self._dock = dock
        self._steps = steps
        self._client_id = client_id

    @property
    def result(self) -> DeployedKubernetes:
        """What it came to, so far."""
        now = self._steps.now
        return DeployedKubernetes(
            namespace=self._config.namespace,
            deployment=self._config.deployment,
            container=now.container,
            revision=now.revision,
            image=self._config.image,
            previous_image=now.before_image,
            replicas=now.replicas,
            ready=now.ready,
            undone=now.undone,
        )

    def put_in_place(self) -> None:
        """From whatever was done already to all of the Deployment's pods being of the new image, and ready.

        Raises StepFailed, ClusterError and Ended before it is complete (see `put_back`), Abandoned at any time.
        """
        if self._steps.now.committed:
            return
        self._set_image()
        deployment, ready = self._wait_until_complete()
        revision, replicas = reading.revision_of(deployment), wanted_replicas(deployment)
        self._steps.write(phase="finish", committed=True, revision=revision, replicas=replicas, ready=ready)
        self._steps.tell(f"{ready} pods of revision {revision} are ready with {self._config.image}")

    def put_back(self, why: str) -> str:
        """After a failure: the image from before is set again, and its rollout waited for. What is true now, in words.

        Raises Abandoned.
        """
        self._steps.write(phase="revert", why=why)
        try:
            return f"{why}; {self._undo()}"
        except (StepFailed, ClusterError) as error:
            self._steps.write(undone=False)
            return f"{why}; what was there before could not be put back: {error}"

    def scale_down(self) -> None:
        """An uninstall: no pod is left. The Deployment and its history stay. Raises as `put_in_place`; nothing is undone."""
        if self._patiently(self._dock.deployment) is None:
            self._steps.tell(f"there is no {self._dock.words}")
            return
        self._change(self._to_none, done=lambda one: self._is_mine(one) and wanted_replicas(one) == 0)
        before = self._steps.now.before_replicas
        while left := self._pods_left():
            self._steps.tell_once(f"{left} pods are left")
            self._steps.sleep(POLL_S)
        self._steps.write(committed=True, replicas=0)
        self._steps.tell(f"no pod is left of {before}: {self._dock.words} is scaled to 0")

    # The steps, in their order.

    def _set_image(self) -> None:
        if self._steps.now.phase in ("begin", "change"):
            self._change(self._to_version, done=self._is_set)
            self._steps.write(phase="wait")

    def _is_set(self, deployment: Document) -> bool:
        """Never before it was noted what it was like: a mark from then is of an agent whose journal is lost."""
        return self._steps.now.phase != "begin" and self._is_mine(deployment)

    def _to_version(self, deployment: Document) -> tuple[Document, Document]:
        container = reading.container_of(deployment, self._config.container)
        if deployment["spec"].get("paused"):
            raise StepFailed(f"{self._dock.words} is paused: it would not roll out")
        target = self._target_replicas(deployment)
        self._remember(deployment, phase="change", container=container, target_replicas=target)
        image, revision = self._steps.now.before_image, reading.revision_of(deployment)
        self._steps.tell_once(f"{self._dock.words} has {image} now (revision {revision})")
        self._steps.tell_once(f"setting {self._config.image}")
        marks = self._marks(**{reading.VERSION: self._request.version, reading.REPLICAS: None})
        return marks, self._new_spec()

    def _to_none(self, deployment: Document) -> tuple[Document, Document]:
        self._remember(deployment, phase="scale_down", container=None)
        before = self._steps.now.before_replicas
        notes = {reading.VERSION: None, **({reading.REPLICAS: str(before)} if before else {})}
        return self._marks(**notes), {"replicas": 0}

    def _remember(self, deployment: Document, *, container: str | None, **more: Any) -> None:
        annotations = reading.annotations_of(deployment)
        self._steps.write(
            container=container,
            before_image=reading.image_of(deployment, container) if container else None,
            before_replicas=wanted_replicas(deployment),
            before_deadline_s=deployment["spec"].get("progressDeadlineSeconds"),
            before_annotations={name: annotations.get(name) for name in reading.OURS},
            **more,
        )

    def _target_replicas(self, deployment: Document) -> int | None:
        if self._config.replicas is not None or wanted_replicas(deployment):
            return self._config.replicas
        before = reading.annotations_of(deployment).get(reading.REPLICAS, "")
        if before.isascii() and before.isdigit() and int(before):
            return int(before)
        raise StepFailed(
            f"{self._dock.words} is scaled to 0, and nothing says to how many it should be (kubernetes_config.replicas)"
        )

    def _new_spec(self) -> Document:
        now = self._steps.now
        spec = _template(now.container, self._config.image)
        if now.target_replicas is not None:
            spec["replicas"] = now.target_replicas
        if self._request.progress_deadline_s is not None:
            spec["progressDeadlineSeconds"] = self._request.progress_deadline_s
        return spec

    def _wait_until_complete(self) -> tuple[Document, int]:
        while True:
            deployment = self._there()
            if not self._is_mine(deployment) or not self._is_set_image(deployment):
                raise StepFailed(f"somebody else changed {self._dock.words} meanwhile")
            verdict = self._judge(deployment)
            if verdict.state == "failed":
                raise StepFailed(f"the rollout failed: {verdict.why}")
            why = verdict.why
            if verdict.state == "complete":
                wanted, ready = wanted_replicas(deployment), self._ready(deployment)
                if ready >= wanted:
                    return deployment, ready
                why = f"{ready} of {wanted} pods of the new revision are ready"
            self._steps.tell_once(why)
            self._steps.sleep(POLL_S)

    # Putting back.

    def _undo(self) -> str:
        if not self._steps.now.changed_at:
            return "nothing was changed"
        deployment = self._there()
        if self._is_to_undo(deployment):
            self._look_at_trouble(deployment)
            self._change(self._to_before, done=lambda one: not self._is_to_undo(one))
        self._steps.write(put_back=True)
        said = self._wait_until_back()
        trouble = "; ".join(self._steps.now.trouble or ())
        return f"{trouble}; {said}" if trouble else said

    def _is_to_undo(self, deployment: Document) -> bool:
        """Not where somebody else has set another image meanwhile: `kubectl set image` leaves the annotations there."""
        is_ours = self._is_set_image(deployment) or self._image_of(deployment) == self._steps.now.before_image
        return self._is_mine(deployment) and is_ours

    def _is_set_image(self, deployment: Document) -> bool:
        return self._image_of(deployment) in (self._config.image, self._steps.now.set_image)

    def _to_before(self, _deployment: Document) -> tuple[Document, Document]:
        now = self._steps.now
        spec = _template(now.container, now.before_image)
        if now.target_replicas is not None:
            spec["replicas"] = now.before_replicas
        if self._request.progress_deadline_s is not None:
            spec["progressDeadlineSeconds"] = now.before_deadline_s
        return {"annotations": dict(now.before_annotations)}, spec

    def _look_at_trouble(self, deployment: Document) -> None:
        if self._steps.now.trouble is not None:
            return
        try:
            pods = self._patiently(self._dock.new_pods, deployment).pods
        except ClusterError as error:
            self._steps.tell(f"what was wrong with the new pods is not known: {error}")
            return
        found = [reading.trouble_of(pod) for pod in pods]
        trouble = tuple(one for one in found if one is not None)[:MOST_TROUBLES]
        for one in trouble:
            self._steps.tell(one)
        self._steps.write(trouble=trouble)

    def _wait_until_back(self) -> str:
        until = time.monotonic() + UNDO_WITHIN_S
        image = self._steps.now.before_image
        while True:
            deployment = self._there()
            if self._image_of(deployment) != image:
                return "somebody else changed it meanwhile, and it is left as it is"
            verdict = self._judge(deployment)
            if verdict.state == "complete":
                revision, replicas = reading.revision_of(deployment), wanted_replicas(deployment)
                ready = available_replicas(deployment)
                self._steps.write(undone=True, revision=revision, replicas=replicas, ready=ready)
                return f"it is back at {image}: {verdict.why}"
            if verdict.state == "failed" or time.monotonic() > until:
                self._steps.write(undone=False)
                return f"{image} was set again, but that rollout isn't complete either: {verdict.why}"
            self._steps.tell_once(f"going back to {image}: {verdict.why}")
            self._steps.sleep(POLL_S)

    # What the steps share.

    def _change(
        self, plan: Callable[[Document], tuple[Document, Document]], done: Callable[[Document], bool]
    ) -> None:
        """Until it is `done`: by this agent, or by the one before, which died before it could note it.

        `plan` says which metadata and spec the Deployment gets that is there now, and notes what it was like.
        """
        while True:
            deployment = self._there()
            if done(deployment):
                return
            try:
                metadata, spec = plan(deployment)
                self._steps.write(stale=failed_at(deployment), changed_at=time.time())
                changed = self._patiently(self._dock.change, deployment, metadata, spec)
                if changed is not None:
                    self._steps.write(set_image=self._image_of(changed))
                    return
            except ClusterUnavailable:
                raise
            except (StepFailed, ClusterError):
                if self._steps.now.phase == "change":
                    self._steps.write(changed_at=0)  # refused: there is nothing to undo
                raise

    def _marks(self, **more: str | None) -> Document:
        own = {
            reading.PROJECT: self._request.project_id,
            reading.CLIENT: self._client_id,
            reading.EXECUTION: self._request.execution_id,
        }
        return {"annotations": {**own, **more}}

    def _there(self) -> Document:
        found = self._patiently(self._dock.deployment)
        if found is None:
            raise StepFailed(
                f"there is no {self._dock.words}: Hoist changes one that is there, and makes none"
            )
        return found

    def _is_mine(self, deployment: Document) -> bool:
        return reading.annotations_of(deployment).get(reading.EXECUTION) == self._request.execution_id

    def _image_of(self, deployment: Document) -> str | None:
        container = self._steps.now.container
        return None if container is None else reading.image_of(deployment, container)

    def _judge(self, deployment: Document) -> Verdict:
        now = self._steps.now
        return judge(deployment, stale=now.stale, waited_s=max(0.0, time.time() - now.changed_at))

    def _ready(self, deployment: Document) -> int:
        found = self._patiently(self._dock.new_pods, deployment)
        if found.truncated:
            return available_replicas(deployment)
        return sum(1 for pod in found.pods if pod.ready and pod.reason != "Terminating")

    def _pods_left(self) -> int:
        """Those that have ended by themselves are no part of it: the cluster keeps them, to be looked at."""
        pods = self._patiently(self._dock.pods, self._there()).pods
        return sum(1 for pod in pods if pod.phase not in ("Succeeded", "Failed"))

    def _patiently(self, step: Callable[A, T], *args: A.args, **more: A.kwargs) -> T:
        return self._steps.patiently(ClusterUnavailable, REVERT_PATIENCE_S, step, *args, **more)


def _template(container: str | None, image: str | None) -> Document:
    return {"template": {"spec": {"containers": [{"name": container, "image": image}]}}}

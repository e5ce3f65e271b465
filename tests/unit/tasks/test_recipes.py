"""How long a recipe's execution may take, before nobody waits for its agent any more."""

from agent.pods.rollout.story import REVERT_PATIENCE_S, UNDO_WITHIN_S
from db.documents.evidence import EvidenceConfig
from db.documents.kubernetes_config import ProjectKubernetes
from tasks.recipes import KubernetesRecipe


def test_rollout_that_fails_at_its_end_has_time_to_be_undone():
    recipe = KubernetesRecipe(
        image="shop:1.5",
        config=ProjectKubernetes(),
        naming=None,
        work_dir="/",
        run_as=None,
        timeout_s=900,
        process_config=None,
        evidence=EvidenceConfig(),
    )
    # It looks, sees what is wrong, looks again, changes, and looks for the last time when its time is over.
    steps = 5
    assert recipe.longest_s >= recipe.timeout_s + UNDO_WITHIN_S + steps * REVERT_PATIENCE_S

"""What projects claim of clusters' pods, as it is now."""

from sqlalchemy.orm import Session

from db.queries.pods import list_claiming_projects
from tasks.decisions.pod_matching import PodClaims, pod_claim


def load_pod_claims(session: Session) -> PodClaims:
    """The claims of every project that has any."""
    return PodClaims(
        pod_claim(one.project_id, one.naming, one.config) for one in list_claiming_projects(session)
    )

"""What a form leaves out of its strategy is the project's."""

from pydantic import ValidationError
from sqlalchemy.orm import Session

from db.documents.deploy_request import DeployTaskRequest
from db.documents.strategy import Strategy
from db.queries.projects import find_project
from tasks.errors import PlanningError


def fill_in_strategy(session: Session, request: DeployTaskRequest) -> DeployTaskRequest:
    """The request with what its strategy does not set taken from the project's default. Raises PlanningError."""
    project = find_project(session, request.project_id)
    given = request.strategy
    if given is None or project is None or project.default_strategy is None:
        return request
    chosen = {name: getattr(given, name) for name in given.model_fields_set}
    try:
        strategy = Strategy.model_validate(dict(project.default_strategy) | chosen)
    except ValidationError as error:
        said = "; ".join(str(one["msg"]).removeprefix("Value error, ") for one in error.errors())
        raise PlanningError(
            f"the strategy and the project's default don't go together: {said}", "strategy"
        ) from None
    return request.model_copy(update={"strategy": strategy})

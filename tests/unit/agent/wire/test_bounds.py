"""Numbers that no database holds are not understood, whoever sends them."""

import pytest
from pydantic import ValidationError

from agent.wire.executions import Execution, ExecutionLog

EXECUTION = {"execution_id": "e1", "project_id": "shop", "state": "failed"}


@pytest.mark.parametrize(
    ("field", "lowest", "highest"),
    [
        ("exit_code", -(2**31), 2**31 - 1),
        ("pid", -(2**31), 2**31 - 1),
        ("output_bytes", 0, 2**63 - 1),
        ("duration_ms", 0, 2**63 - 1),
    ],
)
def test_numbers_of_an_execution_have_bounds(field: str, lowest: int, highest: int):
    for number in (lowest, highest):
        assert getattr(Execution.model_validate({**EXECUTION, field: number}), field) == number
    for number in (lowest - 1, highest + 1, 10**400):
        with pytest.raises(ValidationError, match=field):
            Execution.model_validate({**EXECUTION, field: number})


@pytest.mark.parametrize("field", ["next_offset", "skipped_bytes"])
@pytest.mark.parametrize("number", [-1, 2**63])
def test_numbers_of_a_log_have_bounds(field: str, number: int):
    with pytest.raises(ValidationError, match=field):
        ExecutionLog.model_validate({"output": "", "next_offset": 0, "complete": True, field: number})

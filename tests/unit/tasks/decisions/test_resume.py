from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from agent.wire.base import OpaqueId
from db.ids import new_id
from tasks.decisions.resume import Step, decide_resumption, execution_id_of


def test_a_pending_client_is_started_with_the_next_attempt():
    assert (decide_resumption("pending", 0, None).step, decide_resumption("pending", 0, None).attempt) == (
        Step.START,
        1,
    )
    assert decide_resumption("pending", 2, None).attempt == 3


def test_a_client_in_flight_is_asked_under_the_same_attempt():
    found = decide_resumption("running", 2, "t.c.2.update")
    assert (found.step, found.attempt) == (Step.REATTACH, 2)


@given(
    st.sampled_from(["success", "failed", "unreachable", "skipped", "rolled_back", "unknown"]),
    st.integers(0, 9),
)
def test_whoever_has_an_outcome_is_left_alone(status: str, attempt: int):
    assert decide_resumption(status, attempt, "x").step is Step.LEAVE


@given(st.from_regex(r"\A[A-Za-z0-9][A-Za-z0-9._-]{0,62}\Z"), st.integers(1, 10_000))
def test_execution_ids_are_ids_on_the_agents_wire(client_id: str, attempt: int):
    made = execution_id_of(new_id(), client_id, attempt, "uninstall")
    assert TypeAdapter(OpaqueId).validate_python(made) == made

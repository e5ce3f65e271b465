import json
from datetime import UTC, datetime, timedelta

import pytest
from fastapi.exceptions import RequestValidationError
from hypothesis import given
from hypothesis import strategies as st

from agent.wire.processes import ProcessConfig, ProcessInfo, Rule
from api.body import parse_json
from api.errors import Refused
from api.pagination import cut_page, decode_cursor, encode_cursor
from api.process_status import process_status

NOW = datetime(2030, 1, 1, tzinfo=UTC)
RULES = ProcessConfig(
    rules=(Rule(type="name", pattern="a", name="a"), Rule(type="name", pattern="b", name="b")),
    collect_interval=10,
)


def process(rule, status="running"):
    return ProcessInfo(pid=1, name="x", start_time=NOW, status=status, matched_by=rule)


@pytest.mark.parametrize(
    ("config", "processes", "age_s", "status"),
    [
        (RULES, [process("a"), process("b")], 0, "healthy"),
        (RULES, [process("a"), process("b")], 30, "healthy"),
        (RULES, [process("a"), process("b")], 30.1, "unknown"),
        (RULES, [process("a"), process("b")], None, "unknown"),
        (RULES, [], None, "unknown"),
        (RULES, [], 0, "unhealthy"),
        (RULES, [process("a")], 0, "unhealthy"),
        (RULES, [process("a"), process("b", "zombie")], 0, "unhealthy"),
        (RULES, [process("a"), process("b"), process("b", "zombie")], 0, "unhealthy"),
        (ProcessConfig(), [process("a")], 0, "healthy"),
        (ProcessConfig(), [], 0, "unknown"),
    ],
)
def test_process_status(config, processes, age_s, status):
    received_at = None if age_s is None else NOW - timedelta(seconds=age_s)
    assert process_status(config, processes, received_at, NOW) == status


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63) + 1, 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")), inner)
    ),
)


@given(json_values)
def test_storable_json_is_read_as_it_is(value):
    assert parse_json(json.dumps(value).encode()) == value


@pytest.mark.parametrize("text", ["NaN", "-Infinity", "1e400", "{", "[" * 10_000, "1" * 5000, '"\\x"'])
def test_what_is_no_json_is_refused(text):
    with pytest.raises(json.JSONDecodeError):
        parse_json(text.encode())


@pytest.mark.parametrize(
    "text", [str(2**63), '"\\u0000"', '"\\udc00"', '{"\\u0000": 1}', '[["\\ud800"]]', "[" * 60 + "]" * 60]
)
def test_what_cannot_be_stored_is_refused(text):
    with pytest.raises(RequestValidationError):
        parse_json(text.encode())


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")))
def test_cursor_is_the_key_again(key):
    assert decode_cursor(encode_cursor(key)) == key


@pytest.mark.parametrize("cursor", ["!", "a", "AAAA", "_w", "é"])
def test_cursor_that_was_never_given_out_is_refused(cursor):
    with pytest.raises(Refused):
        decode_cursor(cursor)


@given(st.lists(st.text()), st.integers(1, 20))
def test_page_is_cut_and_says_whether_there_is_more(rows, limit):
    fetched = rows[: limit + 1]
    page, after = cut_page(fetched, limit, lambda row: row)
    assert page == rows[:limit]
    assert after == (rows[limit - 1] if len(rows) > limit else None)

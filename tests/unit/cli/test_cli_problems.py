"""Problem documents as one line and the fields, with an exit code."""

import pytest

from api.cli.errors import NotReached, Refused, WrongUsage
from api.cli.release_api import path_of, problem_error


def test_fields_that_the_sentence_says_already_are_not_said_twice():
    problem = {
        "detail": "cannot accept the request: name: is missing",
        "errors": [{"field": "name", "message": "is missing"}, {"field": "type", "message": "is\x1b odd"}],
    }
    error = problem_error(422, problem, "HOIST_API_TOKEN")
    assert isinstance(error, Refused)
    assert str(error) == "cannot accept the request: name: is missing (422)"
    assert error.details == ("type: is odd",)


@pytest.mark.parametrize(
    ("status", "kind", "code"), [(409, Refused, 3), (500, NotReached, 4), (503, NotReached, 4)]
)
def test_exit_codes(status, kind, code):
    error = problem_error(status, {"title": "Title", "part": "Prefect"}, "x")
    assert (type(error), error.exit_code, str(error)) == (kind, code, f"Title ({status})")


def test_wrong_token_says_where_it_is_from():
    assert problem_error(401, {}, "/home/x/token").details == ("the token is the one of /home/x/token",)


def test_parts_of_an_address_are_quoted():
    assert path_of("projects", "a b/../c?d#e%2f") == "/release/projects/a%20b%2F..%2Fc%3Fd%23e%252f"
    for part in ("", ".", ".."):
        with pytest.raises(WrongUsage):
            path_of("projects", part)

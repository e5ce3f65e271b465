"""One condition for many values, in one parameter, on both databases."""

import pytest
from sqlalchemy import event, select

from db.history.dialects import is_one_of
from db.models import Client, DeployResult, Project
from db.types import DocumentType
from tests.builders import create_fleet

ODD = ['a"b', "a\\b", "a,b", "{a}", "NULL", "", "ä'b", "a b", "\t", '\\"']


def test_value_is_found_whatever_it_is_made_of(database):
    with database.write() as session:
        for name in [*ODD, "another"]:
            session.add(
                Client(client_id=name, url="https://h:4220", labels={}, report_token_sha256=f"{name!r}")
            )
    with database.read() as session:
        asked = is_one_of(Client.client_id, [*ODD, "nobody"])
        assert sorted(session.scalars(select(Client.client_id).where(asked))) == sorted(ODD)
        assert session.scalars(select(Client.client_id).where(is_one_of(Client.client_id, []))).all() == []


@pytest.mark.parametrize("count", [1, 40_000])
def test_ids_are_one_parameter_however_many_there_are(database, count):
    with database.write() as session:
        project, _ = create_fleet(session, {"web-01": "1.4"})
    asked = [f"00000000-0000-7000-8000-{number:012x}" for number in range(count)] + [project.id]
    query = select(Project.name).where(is_one_of(Project.id, "ids"))
    with database.read() as session:
        assert session.scalars(query, {"ids": asked}).all() == ["shop"]


def test_statement_with_a_document_is_compiled_once(database):
    compiled = []

    @event.listens_for(database.engine, "before_cursor_execute")
    def note(_connection, _cursor, _statement, _parameters, context, _many):
        compiled.append(context.compiled)

    with database.read() as session:
        for client in ("web-01", "web-02"):
            session.execute(select(DeployResult.rollback).where(DeployResult.client_id == client)).all()
    first, second = compiled[-2:]
    assert first is second, "each of its executions pays for its compilation"


def test_documents_are_told_apart_by_their_type():
    def key_of(document):
        return DocumentType(document)._static_cache_key

    assert key_of(tuple[int, ...]) == key_of(tuple[int, ...]) != key_of(tuple[str, ...])

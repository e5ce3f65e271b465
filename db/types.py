"""Column types: times that refuse to be naive, ids, and JSON that is JSONB on PostgreSQL and typed in Python."""

from datetime import UTC, datetime
from typing import Any

from pydantic import BaseModel, TypeAdapter
from sqlalchemy import JSON, DateTime, Dialect, Uuid
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.types import TypeDecorator

IdType = Uuid(as_uuid=False)
JsonType = JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")


class UtcDateTime(TypeDecorator[datetime]):
    """An aware time, kept in UTC. SQLite keeps it without its zone; a naive one is refused."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002 (SQLAlchemy's signature)
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a time without a zone can't be stored")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002 (SQLAlchemy's signature)
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class DocumentType(TypeDecorator[Any]):
    """A pydantic type kept as JSON: `DocumentType(Strategy)`, `DocumentType(tuple[WaveSize, ...])`.

    SQLAlchemy knows two of them apart by `document`, and so compiles a statement that has one only once.
    """

    impl = JSON
    cache_ok = True

    def __init__(self, document: Any) -> None:
        super().__init__(none_as_null=True)
        self.document = document
        self._adapter: TypeAdapter[Any] = TypeAdapter(document)

    def load_dialect_impl(self, dialect: Dialect) -> Any:
        return dialect.type_descriptor(
            JSONB(none_as_null=True) if dialect.name == "postgresql" else JSON(none_as_null=True)
        )

    def process_bind_param(self, value: Any, dialect: Dialect) -> Any:  # noqa: ARG002 (SQLAlchemy's signature)
        if value is None:
            return None
        return self._adapter.dump_python(value, mode="json", exclude_none=isinstance(value, BaseModel))

    def process_result_value(self, value: Any, dialect: Dialect) -> Any:  # noqa: ARG002 (SQLAlchemy's signature)
        return None if value is None else self._adapter.validate_python(value)

"""What people are to be told, and what became of each message: the outbox of alerts and deploy tasks."""

from datetime import datetime

from sqlalchemy import ForeignKey, Index, Integer, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from db.models.base import Base, Keyed
from db.types import IdType, UtcDateTime


class News(Keyed, Base):
    """Written with what it tells of, in its transaction. `routed_at` None: not yet given to the channels.

    `event`: firing, resolved (an alert's), or started, needs_person, failed, done, rolled_back (a deploy task's).
    `postponed_until`: it is silenced, and looked at again then.
    """

    __tablename__ = "news"
    __table_args__ = (Index(None, "routed_at"), Index(None, "alert_id"), Index(None, "at"))

    event: Mapped[str] = mapped_column(String(20))
    level: Mapped[str] = mapped_column(String(10))
    project_id: Mapped[str | None] = mapped_column(IdType)
    client_id: Mapped[str | None] = mapped_column(String(63))
    alert_id: Mapped[str | None] = mapped_column(IdType)
    deploy_task_id: Mapped[str | None] = mapped_column(IdType)
    title: Mapped[str] = mapped_column(String(300))
    body: Mapped[str] = mapped_column(Text)
    at: Mapped[datetime] = mapped_column(UtcDateTime)
    routed_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    postponed_until: Mapped[datetime | None] = mapped_column(UtcDateTime)


class Delivery(Keyed, Base):
    """One piece of news for one channel. status: waiting, sent, failed (given up). `batch_id`: sent in one message."""

    __tablename__ = "deliveries"
    __table_args__ = (
        Index(None, "status", "next_at"),
        Index(None, "news_id"),
        Index(None, "channel", "sent_at"),
    )

    news_id: Mapped[str] = mapped_column(IdType, ForeignKey("news.id", ondelete="CASCADE"))
    channel: Mapped[str] = mapped_column(String(100))
    status: Mapped[str] = mapped_column(String(10), default="waiting")
    attempts: Mapped[int] = mapped_column(Integer, default=0)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    next_at: Mapped[datetime] = mapped_column(UtcDateTime)
    sent_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    batch_id: Mapped[str | None] = mapped_column(IdType)
    error: Mapped[str | None] = mapped_column(String(500))

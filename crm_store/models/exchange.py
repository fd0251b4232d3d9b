"""What comes in from the shop's own systems and goes out to them: imports, tokens, and events for webhooks."""
from __future__ import annotations

import sqlalchemy as sa

from crm_store.database import UtcDateTime
from crm_store.models.base import Base, Id, one_of, reference

EXCHANGE_KINDS = ("customers", "products", "orders", "points", "articles")
IMPORT_STATES = ("ready", "running", "done", "refused")
EVENT_KINDS = (
    "customer.created", "customer.updated", "customer.linked", "conversation.opened", "conversation.handed_over",
    "conversation.resolved", "conversation.rated", "complaint.created", "complaint.resolved", "points.earned",
    "points.spent", "order.returned",
)


class Import(Base):
    """One file that came in. ``rows_done`` moves on with the rows themselves, so a killed import goes on from there.

    ``ready``: checked, nothing stored yet; ``refused``: never stored, because rows are wrong.
    """

    __tablename__ = "imports"
    id = sa.Column(Id, primary_key=True)
    kind = sa.Column(sa.String(20), nullable=False)
    name = sa.Column(sa.String(200), nullable=False)
    sha256 = sa.Column(sa.String(64), nullable=False)
    time_zone = sa.Column(sa.String(60), nullable=False)
    skip_wrong = sa.Column(sa.Boolean, nullable=False)  # store the rows that are right
    state = sa.Column(sa.String(10), nullable=False)
    rows = sa.Column(sa.Integer, nullable=False)
    rows_done = sa.Column(sa.Integer, nullable=False, default=0)
    counts = sa.Column(sa.JSON, nullable=False, default=dict)  # rows by what became of them
    errors = sa.Column(sa.JSON, nullable=False, default=list)  # the first ones, without what the cells hold
    errors_total = sa.Column(sa.Integer, nullable=False, default=0)
    ignored = sa.Column(sa.JSON, nullable=False, default=list)  # headings that name no column
    agent_id = reference("support_agents.id", nullable=True)
    token_id = reference("exchange_tokens.id", nullable=True)
    worker = sa.Column(sa.String(40))
    worker_until = sa.Column(UtcDateTime)
    created_at = sa.Column(UtcDateTime, nullable=False)
    finished_at = sa.Column(UtcDateTime)
    __table_args__ = (
        one_of("kind", "kind", EXCHANGE_KINDS), one_of("state", "state", IMPORT_STATES),
        sa.Index("ix_imports_sha256_kind", "sha256", "kind"),
    )


class RowVersion(Base):
    """When the shop last changed a row that was imported, where its files say so."""

    __tablename__ = "exchange_versions"
    kind = sa.Column(sa.String(20), primary_key=True)
    key = sa.Column(sa.String(64), primary_key=True)  # a keyed hash of the shop's key, which may name a person
    updated_at = sa.Column(UtcDateTime, nullable=False)


class ExchangeToken(Base):
    """A key to the exchange API; only its hash is stored. ``prefix`` finds it and is shown."""

    __tablename__ = "exchange_tokens"
    id = sa.Column(Id, primary_key=True)
    name = sa.Column(sa.String(80), nullable=False)
    prefix = sa.Column(sa.String(12), nullable=False, unique=True)
    token_hash = sa.Column(sa.String(64), nullable=False)
    may_read = sa.Column(sa.Boolean, nullable=False)
    may_write = sa.Column(sa.Boolean, nullable=False)
    created_by_id = reference("support_agents.id")
    created_at = sa.Column(UtcDateTime, nullable=False)
    used_at = sa.Column(UtcDateTime)
    revoked_at = sa.Column(UtcDateTime)


class ShopEvent(Base):
    """Something that happened, for webhooks, written with what happened; numbers and codes only, nothing personal."""

    __tablename__ = "shop_events"
    id = sa.Column(Id, primary_key=True)
    kind = sa.Column(sa.String(30), nullable=False)
    customer_id = reference("customers.id", nullable=True, index=False)
    conversation_id = reference("conversations.id", nullable=True, ondelete="CASCADE")
    data = sa.Column(sa.JSON, nullable=False)
    created_at = sa.Column(UtcDateTime, nullable=False, index=True)
    __table_args__ = (one_of("kind", "kind", EVENT_KINDS),)

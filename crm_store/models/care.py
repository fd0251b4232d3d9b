"""Messages that customers did not ask for: what they say, to whom they went, and to whom they did not."""
from __future__ import annotations

import sqlalchemy as sa

from crm_store.database import UtcDateTime
from crm_store.models.base import Base, Id, one_of, reference
from crm_store.rules.care import ARMS, KINDS


class CareCampaign(Base):
    """One reason to write, in one or two variants; ``days`` is how long before or after, where that is asked."""

    __tablename__ = "care_campaigns"
    kind = sa.Column(sa.String(20), primary_key=True)
    enabled = sa.Column(sa.Boolean, nullable=False, default=False)
    days = sa.Column(sa.Integer)
    control_percent = sa.Column(sa.Integer, nullable=False, default=10)
    a_zh = sa.Column(sa.Text, nullable=False)
    a_en = sa.Column(sa.Text, nullable=False)
    b_zh = sa.Column(sa.Text, nullable=False, default="")
    b_en = sa.Column(sa.Text, nullable=False, default="")
    changed_at = sa.Column(UtcDateTime, nullable=False)
    __table_args__ = (one_of("kind", "kind", KINDS),
                      sa.CheckConstraint("control_percent BETWEEN 0 AND 50", name="control_percent"))


class CareMessage(Base):
    """One occasion of one customer, decided once: which variant it was; ``message_id`` is null of the control group."""

    __tablename__ = "care_messages"
    id = sa.Column(Id, primary_key=True)
    kind = sa.Column(sa.String(20), nullable=False)
    customer_id = reference("customers.id", index=False)
    occasion = sa.Column(sa.String(60), nullable=False)
    arm = sa.Column(sa.String(10), nullable=False)
    message_id = reference("messages.id", nullable=True)
    decided_at = sa.Column(UtcDateTime, nullable=False)
    __table_args__ = (
        one_of("kind", "kind", KINDS), one_of("arm", "arm", ARMS),
        sa.UniqueConstraint("kind", "customer_id", "occasion"),
        sa.Index("ix_care_messages_customer_id_decided_at", "customer_id", "decided_at"),
    )

"""What customers are worth to the shop: counted from their orders, judged by a model that is fitted every night."""
from __future__ import annotations

import sqlalchemy as sa

from crm_store.database import UtcDateTime
from crm_store.models.base import Base, Id, one_of
from crm_store.rules.value import SEGMENTS, STAGES


class ValueModel(Base):
    """What was learned of all buyers one night; the newest counts. Times are in days, ``gamma`` is in fen.

    The borders are those of the quintiles, four each. Where there was too little to learn from, the parameters are
    null and ``customers`` and ``repeaters`` say how little.
    """

    __tablename__ = "value_models"
    id = sa.Column(Id, primary_key=True)
    fitted_for = sa.Column(sa.Date, nullable=False, unique=True)  # the shop's day
    fitted_at = sa.Column(UtcDateTime, nullable=False)
    customers = sa.Column(sa.Integer, nullable=False)
    repeaters = sa.Column(sa.Integer, nullable=False)
    sample = sa.Column(sa.Integer, nullable=False)  # how many of the customers the parameters were fitted on
    rhythm_days = sa.Column(sa.Integer, nullable=False)
    borders = sa.Column(sa.JSON, nullable=False, default=dict)  # {"recency": [days], "frequency": …, "monetary": [fen]}
    r = sa.Column(sa.Float)
    alpha = sa.Column(sa.Float)
    a = sa.Column(sa.Float)
    b = sa.Column(sa.Float)
    p = sa.Column(sa.Float)
    q = sa.Column(sa.Float)
    gamma = sa.Column(sa.Float)
    correlation = sa.Column(sa.Float)  # of how often and how much; the model takes it for nothing


class CustomerValue(Base):
    """One buyer: what their orders say, and what follows from it. Who has bought nothing they kept has no row.

    Days are the shop's, amounts are in fen. ``alive`` and ``worth_fen`` are null where there was too little to learn
    from, the scores and the segment where there were too few buyers to compare with.
    """

    __tablename__ = "customer_values"
    customer_id = sa.Column(Id, sa.ForeignKey("customers.id"), primary_key=True, autoincrement=False)
    purchases = sa.Column(sa.Integer, nullable=False)  # days on which they bought something they kept
    first_on = sa.Column(sa.Date, nullable=False)
    last_on = sa.Column(sa.Date, nullable=False)
    rhythm_days = sa.Column(sa.Integer)  # the median of the days between two purchases
    spent_fen = sa.Column(sa.BigInteger, nullable=False)
    returns = sa.Column(sa.Integer, nullable=False)  # orders that went back whole
    recency = sa.Column(sa.SmallInteger)
    frequency = sa.Column(sa.SmallInteger)
    monetary = sa.Column(sa.SmallInteger)
    segment = sa.Column(sa.String(20))
    stage = sa.Column(sa.String(10), nullable=False)
    alive = sa.Column(sa.Float)  # the probability that they still are a customer
    expected_purchases = sa.Column(sa.Float)  # in the coming twelve months
    worth_fen = sa.Column(sa.BigInteger)  # what they will spend in them
    judged_on = sa.Column(sa.Date, nullable=False)
    counted_at = sa.Column(UtcDateTime, nullable=False)
    __table_args__ = (one_of("segment", "segment", SEGMENTS), one_of("stage", "stage", STAGES))


class ValueMark(Base):
    """A customer whose orders changed since they were counted. The database writes it with the change itself.

    There is one for every change and nobody updates any, so that writers never wait for each other; the customer is no
    foreign key for the same reason.
    """

    __tablename__ = "value_marks"
    id = sa.Column(Id, primary_key=True)
    customer_id = sa.Column(Id, nullable=False, index=True)

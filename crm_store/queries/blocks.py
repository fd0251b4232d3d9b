"""Who is blocked, for the pane of a conversation and the list of a lead."""
from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy import select
from sqlalchemy.orm import Session, aliased

from crm_store.models import Block, ChannelIdentity, Conversation, Customer, SupportAgent
from crm_store.services.access import visible_to
from crm_store.services.blocks import running

PAGE = 50


@dataclass(frozen=True)
class BlockRow:
    """One block. ``state``: "running", "over" (by itself) or "ended" (by ``ended_by``)."""

    id: int
    conversation_id: int
    channel: str
    external_id: str
    customer_name: str | None
    reason: str
    by_id: int
    by: str
    created_at: datetime
    until_at: datetime | None
    ended_at: datetime | None
    ended_by: str | None
    held: int
    state: str


@dataclass(frozen=True)
class BlocksPage:
    """Some of the blocks, the latest first, and how many there are."""

    rows: list[BlockRow]
    total: int
    page: int
    pages: int


def running_block(session: Session, identity_id: int, now: datetime) -> BlockRow | None:
    """The block of a sender that is not over. Check access to their conversation before."""
    row = session.execute(_rows().where(Block.identity_id == identity_id, running(now)).limit(1)).one_or_none()
    return None if row is None else _row(row, now)


def blocks_page(session: Session, agent: SupportAgent, now: datetime, *, over: bool, page: int) -> BlocksPage:
    """The blocks from conversations that an agent may see: those that run, or those that are over."""
    wanted = (visible_to(agent), sa.not_(running(now)) if over else running(now))
    total = session.execute(
        select(sa.func.count()).select_from(Block).join(Conversation, Conversation.id == Block.conversation_id)
        .where(*wanted)).scalar_one()
    pages = max(1, -(-total // PAGE))
    at = min(max(page, 1), pages)
    found = session.execute(_rows().where(*wanted).limit(PAGE).offset((at - 1) * PAGE))
    return BlocksPage([_row(row, now) for row in found], total, at, pages)


def _rows() -> sa.sql.Select:
    by, ended_by = aliased(SupportAgent), aliased(SupportAgent)
    return (
        select(Block, ChannelIdentity.channel, ChannelIdentity.external_id, Customer.name, by.name, ended_by.name)
        .join(ChannelIdentity, ChannelIdentity.id == Block.identity_id)
        .join(Conversation, Conversation.id == Block.conversation_id)
        .join(by, by.id == Block.blocked_by_id)
        .outerjoin(ended_by, ended_by.id == Block.ended_by_id)
        .outerjoin(Customer, sa.and_(Customer.id == ChannelIdentity.customer_id, Customer.erased_at.is_(None)))
        .order_by(Block.id.desc()))


def _row(row: sa.engine.Row, now: datetime) -> BlockRow:
    block, channel, external_id, customer, by, ended_by = row
    over = block.until_at is not None and block.until_at <= now
    state = "ended" if block.ended_at is not None else "over" if over else "running"
    return BlockRow(block.id, block.conversation_id, channel, external_id, customer, block.reason, block.blocked_by_id,
                    by, block.created_at, block.until_at, block.ended_at, ended_by, block.held, state)

"""Writes to customers who did not ask: on their birthday, when a parcel came, before points lapse, when they stay away.

Every occasion is decided once, in one unit of work with the message: written in a variant, or kept back as control.
Who did not agree, was written to lately, talks with a person or cannot be reached is left out without a decision, so
the next look may find them ready; after a day the occasion is let go. See docs/adr/0028.
"""
from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import sqlalchemy as sa
from sqlalchemy import select
from sqlalchemy.orm import Session

from crm_store.errors import InvalidMessage, NotAllowed, NotFound
from crm_store.models import (
    CareCampaign,
    CareMessage,
    ChannelIdentity,
    Consent,
    Conversation,
    Customer,
    CustomerValue,
    Order,
    PointsEntry,
    Shipment,
    SupportAgent,
    Ticket,
)
from crm_store.queries.calendar import shop_time_zone
from crm_store.queries.customers import consents_of
from crm_store.queries.points import points_expiring
from crm_store.rules.care import (
    ANSWERS_WITHIN,
    CAPS,
    KINDS,
    MID_TALK,
    PURPOSES,
    STALE,
    arm_of,
    is_quiet,
    is_too_often,
)
from crm_store.rules.text import clean_text
from crm_store.services.audit import record
from crm_store.services.erasure import waiting_erasure
from crm_store.services.locking import lock_conversation
from crm_store.services.system_messages import tell_customer

MAY_CHANGE = "manager"
AT_ONCE = 100
TEXT_LIMIT = 600
DAYS = {"points_expiring": 14, "win_back": 60, "follow_up": 3}
PLACES = {"birthday": ("name",), "delivered": ("name", "order"), "points_expiring": ("name", "points", "date"),
          "win_back": ("name",), "follow_up": ("name", "ticket")}
AWAY = ("dormant", "lost")
TEXTS: dict[str, tuple[str, str]] = {
    "birthday": ("{name}，生日快乐！愿您新的一岁事事顺心。",
                 "Happy birthday, {name}! All the best for your new year."),
    "delivered": ("{name}，您的订单 {order} 已经送到，用得还满意吗？有问题直接回我就行。",
                  "{name}, your order {order} has arrived. Is everything as it should be? Just reply if not."),
    "points_expiring": ("{name}，您有 {points} 积分将在 {date} 到期，回复“兑换积分”看看能换什么。",
                        "{name}, {points} of your points expire on {date}. Reply “redeem points” to see the rewards."),
    "win_back": ("{name}，好久不见。最近有什么需要，随时告诉我们。",
                 "{name}, it has been a while. If there is anything you need, we are here."),
    "follow_up": ("{name}，您的投诉 {ticket} 处理完几天了，现在一切都好吗？",
                  "{name}, your complaint {ticket} was settled some days ago. Is everything all right?"),
}
STOP = {"zh": "不想再收到这类消息，回复“退订”即可。",
        "en": "Reply “unsubscribe” and we will not write like this again."}


@dataclass(frozen=True)
class Occasion:
    """A reason to write to a customer, since ``since``; ``about`` fills the text's places."""

    customer_id: int
    name: str
    since: datetime
    about: dict[str, str]


def campaigns(session: Session, now: datetime) -> list[CareCampaign]:
    """Every campaign; one that nobody has touched is off, with the texts of the product."""
    stored = {each.kind: each for each in session.execute(select(CareCampaign)).scalars()}
    return [stored.get(kind) or CareCampaign(kind=kind, enabled=False, days=DAYS.get(kind), control_percent=10,
                                             a_zh=TEXTS[kind][0], a_en=TEXTS[kind][1], b_zh="", b_en="", changed_at=now)
            for kind in KINDS]


def change_campaign(session: Session, agent: SupportAgent, kind: str, *, enabled: bool, days: int | None,
                    control_percent: int, texts: dict[str, str], now: datetime) -> CareCampaign:
    """Change what a campaign says and to how many it says nothing.

    Args:
        session: the unit of work.
        agent: a manager.
        kind: which campaign.
        enabled: whether it runs.
        days: 1 to 365, for campaigns that ask for it.
        control_percent: 0 to 50.
        texts: "a_zh", "a_en", "b_zh", "b_en"; both of b empty for one variant only.
        now: when.

    Raises:
        NotAllowed: the agent is no manager.
        NotFound: there is no such campaign.
        InvalidMessage: ``field`` cannot be accepted, such as a text with a place that nothing fills.
    """
    if not agent.is_at_least(MAY_CHANGE):
        raise NotAllowed(role=agent.role)
    if kind not in KINDS:
        raise NotFound(kind=kind)
    if not 0 <= control_percent <= 50:
        raise InvalidMessage(field="control_percent", reason="invalid")
    if kind in DAYS and not 1 <= (days or 0) <= 365:
        raise InvalidMessage(field="days", reason="invalid")
    clean = {name: _checked(kind, name, texts.get(name, "")) for name in ("a_zh", "a_en", "b_zh", "b_en")}
    if bool(clean["b_zh"]) != bool(clean["b_en"]):
        raise InvalidMessage(field="b_en" if clean["b_zh"] else "b_zh", reason="empty")
    campaign: CareCampaign | None = session.execute(
        select(CareCampaign).where(CareCampaign.kind == kind).with_for_update()).scalar_one_or_none()
    before = {} if campaign is None else _settings_of(campaign)
    if campaign is None:
        campaign = CareCampaign(kind=kind)
        session.add(campaign)
    campaign.enabled, campaign.days, campaign.control_percent, campaign.changed_at = (
        enabled, days if kind in DAYS else None, control_percent, now)
    for name, text in clean.items():
        setattr(campaign, name, text)
    record(session, actor_kind="agent", actor_id=agent.id, action="change_care", object_kind="care_campaign",
           object_id=0, data={"kind": kind, "from": before, "to": _settings_of(campaign)}, now=now)
    session.flush()
    return campaign


def _settings_of(campaign: CareCampaign) -> dict[str, Any]:
    return {name: getattr(campaign, name)
            for name in ("enabled", "days", "control_percent", "a_zh", "a_en", "b_zh", "b_en")}


def take_care(session: Session, now: datetime, limit: int = AT_ONCE) -> int:
    """Decide about at most ``limit`` occasions that are due; how many were decided. At night nothing is.

    Two workers at once decide an occasion once: the second finds it decided when it gets to the customer's lock.
    """
    zone = ZoneInfo(shop_time_zone(session))
    if is_quiet(now, zone):
        return 0
    decided = 0
    for campaign in campaigns(session, now):
        if not campaign.enabled:
            continue
        for occasion, key in OCCASIONS[campaign.kind](session, campaign, now, zone):
            if decided >= limit:
                return decided
            decided += _decide(session, campaign, occasion, key, now)
    return decided


def _decide(session: Session, campaign: CareCampaign, occasion: Occasion, key: str, now: datetime) -> bool:
    purpose = PURPOSES[campaign.kind]
    conversation_id = _where_to_write(session, occasion.customer_id, now)
    if conversation_id is None:
        return False
    conversation = lock_conversation(session, conversation_id)
    customer = session.execute(
        select(Customer).where(Customer.id == occasion.customer_id).with_for_update(key_share=True)
        .execution_options(populate_existing=True)).scalar_one()
    if conversation.customer_id != customer.id or customer.erased_at is not None:
        return False
    if waiting_erasure(session, customer.id) is not None:  # they asked to be left in peace
        return False
    if conversation.status in ("open", "snoozed") or conversation.last_customer_message_at > now - MID_TALK:
        return False
    allowed = consents_of(session, customer.id).get(purpose)  # as it is under the lock that a decision takes too
    if allowed is False or (purpose == "marketing" and not allowed):
        return False
    earlier = session.execute(
        select(CareMessage.kind, CareMessage.occasion, CareMessage.decided_at)
        .where(CareMessage.customer_id == customer.id)).all()
    if any((each.kind, each.occasion) == (campaign.kind, key) for each in earlier):
        return False
    if is_too_often([each.decided_at for each in earlier], now):
        return False
    arm = arm_of(campaign.kind, customer.id, campaign.control_percent, has_b=bool(campaign.b_zh))
    message = None
    if arm != "control":
        language = "en" if customer.language == "en" else "zh"
        text = _filled(getattr(campaign, f"{arm}_{language}"), {"name": occasion.name, **occasion.about})
        if purpose == "marketing":
            text = f"{text}\n{STOP[language]}"
        message = tell_customer(session, conversation, text, now)
        session.flush()
    session.add(CareMessage(kind=campaign.kind, customer_id=customer.id, occasion=key, arm=arm, decided_at=now,
                            message_id=message and message.id))
    session.flush()
    return True


def _where_to_write(session: Session, customer_id: int, now: datetime) -> int | None:
    """The conversation that the customer wrote in last, on a channel that reaches them; None where a person has it."""
    found = session.execute(
        select(Conversation.id, Conversation.status)
        .join(ChannelIdentity, ChannelIdentity.id == Conversation.identity_id)
        .where(Conversation.customer_id == customer_id, ChannelIdentity.customer_id == customer_id,
               ChannelIdentity.unreachable_since.is_(None), Conversation.last_customer_message_at.is_not(None),
               sa.or_(ChannelIdentity.blocked_until.is_(None), ChannelIdentity.blocked_until <= now),
               *(sa.or_(Conversation.channel != channel, Conversation.last_customer_message_at > now - within)
                 for channel, within in ANSWERS_WITHIN.items()))
        .order_by(Conversation.last_customer_message_at.desc(), Conversation.id.desc()).limit(1)).one_or_none()
    return None if found is None or found.status in ("open", "snoozed") else int(found.id)


def _undecided(kind: str, customer_id: Any, key: Any) -> Any:
    return ~sa.exists().where(CareMessage.kind == kind, CareMessage.customer_id == customer_id,
                              CareMessage.occasion == key)


def _may_hear(kind: str, now: datetime) -> Any:
    """SQL: the customer allows it and was not written to this week, so that nobody else is looked at every time."""
    newest = (select(Consent.granted).where(Consent.customer_id == Customer.id, Consent.purpose == PURPOSES[kind])
              .order_by(Consent.decided_at.desc(), Consent.id.desc()).limit(1).correlate(Customer).scalar_subquery())
    lately = sa.exists().where(CareMessage.customer_id == Customer.id, CareMessage.decided_at > now - CAPS[0][0])
    return sa.and_(sa.func.coalesce(newest, PURPOSES[kind] == "service"), ~lately)


def _birthdays(session: Session, campaign: CareCampaign, now: datetime, zone: ZoneInfo) -> Iterable[tuple[Any, str]]:
    today = now.astimezone(zone).date()
    days = [(today.month, today.day)]
    if (today.month, today.day) == (2, 28) and not _is_leap(today.year):
        days.append((2, 29))
    key = f"{today.year}"
    for month, day in days:
        rows = session.execute(
            select(Customer.id, Customer.name).where(
                sa.extract("month", Customer.birthday) == month, sa.extract("day", Customer.birthday) == day,
                Customer.erased_at.is_(None), Customer.merged_into_id.is_(None),
                _may_hear("birthday", now), _undecided("birthday", Customer.id, key)).order_by(Customer.id)).all()
        for row in rows:
            yield Occasion(row.id, row.name, now, {}), key


def _delivered(session: Session, campaign: CareCampaign, now: datetime, zone: ZoneInfo) -> Iterable[tuple[Any, str]]:
    key = sa.cast(Order.id, sa.String)
    rows = session.execute(
        select(Customer.id, Customer.name, Order.number, Order.id.label("order_id"), Shipment.delivered_at)
        .join(Order, Order.customer_id == Customer.id).join(Shipment, Shipment.order_id == Order.id)
        .where(Shipment.delivered_at > now - STALE, Shipment.delivered_at <= now, Order.status == "delivered",
               Customer.erased_at.is_(None), _may_hear("delivered", now),
               _undecided("delivered", Customer.id, key)).order_by(Shipment.id)).all()
    for row in rows:
        yield Occasion(row.id, row.name, row.delivered_at, {"order": row.number}), str(row.order_id)


def _points(session: Session, campaign: CareCampaign, now: datetime, zone: ZoneInfo) -> Iterable[tuple[Any, str]]:
    within = timedelta(days=campaign.days)
    rows = session.execute(
        select(Customer.id, Customer.name, Customer.language)
        .where(sa.exists().where(PointsEntry.customer_id == Customer.id, PointsEntry.points > 0,
                                 PointsEntry.expires_at > now, PointsEntry.expires_at <= now + within),
               _may_hear("points_expiring", now), Customer.erased_at.is_(None), Customer.merged_into_id.is_(None))
        .order_by(Customer.id)).all()
    for row in rows:
        for day, points in points_expiring(session, row.id, now, within)[:1]:
            told = f"{day.month}月{day.day}日" if row.language == "zh" else f"{day.day} {day:%B}"
            key = day.isoformat()
            if session.execute(select(_undecided("points_expiring", sa.literal(row.id), key))).scalar():
                yield Occasion(row.id, row.name, now, {"points": f"{points:,}", "date": told}), key


def _away(session: Session, campaign: CareCampaign, now: datetime, zone: ZoneInfo) -> Iterable[tuple[Any, str]]:
    today = now.astimezone(zone).date()
    rows = session.execute(
        select(Customer.id, Customer.name, CustomerValue.last_on)
        .join(CustomerValue, CustomerValue.customer_id == Customer.id)
        .where(CustomerValue.stage.in_(AWAY), CustomerValue.last_on <= today - timedelta(days=campaign.days),
               Customer.erased_at.is_(None), Customer.merged_into_id.is_(None),
               _may_hear("win_back", now),
               _undecided("win_back", Customer.id, sa.cast(CustomerValue.last_on, sa.String)))
        .order_by(Customer.id)).all()
    for row in rows:  # once for each time they stayed away
        yield Occasion(row.id, row.name, now, {}), row.last_on.isoformat()


def _settled(session: Session, campaign: CareCampaign, now: datetime, zone: ZoneInfo) -> Iterable[tuple[Any, str]]:
    due = now - timedelta(days=campaign.days)
    rows = session.execute(
        select(Customer.id, Customer.name, Ticket.number, Ticket.resolved_at)
        .join(Ticket, Ticket.customer_id == Customer.id)
        .where(Ticket.kind == "complaint", Ticket.status == "resolved", Ticket.resolved_at <= due,
               Ticket.resolved_at > due - STALE, Customer.erased_at.is_(None), _may_hear("follow_up", now),
               _undecided("follow_up", Customer.id, Ticket.number)).order_by(Ticket.id)).all()
    for row in rows:
        yield Occasion(row.id, row.name, row.resolved_at, {"ticket": row.number}), row.number


OCCASIONS: dict[str, Callable[[Session, CareCampaign, datetime, ZoneInfo], Iterable[tuple[Occasion, str]]]] = {
    "birthday": _birthdays, "delivered": _delivered, "points_expiring": _points, "win_back": _away,
    "follow_up": _settled}


def _checked(kind: str, field: str, text: str) -> str:
    text = clean_text(text, TEXT_LIMIT) if text.strip() else ""
    if not text and field.startswith("a_"):
        raise InvalidMessage(field=field, reason="empty")
    rest = text
    for place in PLACES[kind]:
        rest = rest.replace("{" + place + "}", "")
    if "{" in rest or "}" in rest:
        raise InvalidMessage(field=field, reason="invalid")
    return text


def _filled(text: str, about: dict[str, str]) -> str:
    for place, word in about.items():
        text = text.replace("{" + place + "}", word.replace("{", "").replace("}", ""))
    return text


def _is_leap(year: int) -> bool:
    return year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)

"""The demo shop's desk: tiers, teams, agents, the calendar, the promises of the service rules, rewards, macros."""
from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy.orm import Session

from crm_store.demo.files import ShopFiles
from crm_store.models import BusinessCalendar, Macro, Product, Reward, SlaPolicy, SupportAgent, Team, Tier
from crm_store.services.knowledge import save_article
from crm_store.services.staff import hash_password

TIERS: tuple[dict[str, Any], ...] = (
    {"code": "silver", "rank": 0, "name_zh": "银卡", "name_en": "Silver", "minimum_spend_fen": 0, "multiplier": 1,
     "benefits_zh": "每消费 ¥1 积 1 分；积分可换优惠券和礼品。",
     "benefits_en": "1 point for every ¥1; points buy coupons and gifts.", "anger_route": 0.80, "anger_watch": 0.50},
    {"code": "gold", "rank": 1, "name_zh": "金卡", "name_en": "Gold", "minimum_spend_fen": 200_000, "multiplier": 1.2,
     "benefits_zh": "1.2 倍积分；金卡专享兑换礼。",
     "benefits_en": "1.2 times the points; rewards kept for Gold.", "anger_route": 0.75, "anger_watch": 0.45},
    {"code": "platinum", "rank": 2, "name_zh": "铂金", "name_en": "Platinum", "minimum_spend_fen": 800_000,
     "multiplier": 1.5, "benefits_zh": "1.5 倍积分；铂金专享兑换礼；人工首次回复时限减半。",
     "benefits_en": "1.5 times the points; rewards kept for Platinum; a first reply in half the time.",
     "anger_route": 0.70, "anger_watch": 0.40},
)
TEAMS = (("front_line", "一线客服 · Front line"), ("experts", "专家组 · Experts"),
         ("management", "管理组 · Management"))
AGENTS: tuple[tuple[str, str, str, str, list[str], int], ...] = (  # login, name, role, level, languages, capacity
    ("wangmin", "王敏", "agent", "front_line", ["zh", "en"], 5),
    ("lina", "李娜", "agent", "experts", ["zh", "en"], 5),
    ("chenwei", "陈伟", "agent", "front_line", ["en"], 5),
    ("zhaolei", "赵蕾", "lead", "front_line", ["zh", "en"], 3),
    ("manager", "周宁", "manager", "management", ["zh", "en"], 3),
    ("admin", "系统管理员", "admin", "management", ["zh", "en"], 0),
)
CALENDAR = {
    "name": "暖家客服 · Nuanjia service desk", "time_zone": "Asia/Shanghai", "holidays": "CN", "closing_days": [],
    "weekly": {str(day): [["09:00", "21:00"]] for day in range(7)},
}
MINUTE, HOUR = 60, 3600
# name, ticket kind, grade, tier, then seconds: first response, next response, resolution, follow-up
POLICIES: tuple[tuple[Any, ...], ...] = (
    ("铂金 · 重大投诉 / Platinum, major", "complaint", "major", "platinum", 450, 30 * MINUTE, 24 * HOUR, 48 * HOUR),
    ("重大投诉 / Major", "complaint", "major", None, 15 * MINUTE, 30 * MINUTE, 24 * HOUR, 48 * HOUR),
    ("铂金 · 复杂投诉 / Platinum, complex", "complaint", "complex", "platinum", HOUR // 2, HOUR, 24 * HOUR, 48 * HOUR),
    ("复杂投诉 / Complex", "complaint", "complex", None, HOUR, HOUR, 24 * HOUR, 48 * HOUR),
    ("铂金 · 普通投诉 / Platinum, ordinary", "complaint", "ordinary", "platinum", HOUR, 2 * HOUR, 24 * HOUR, 48 * HOUR),
    ("普通投诉 / Ordinary", "complaint", "ordinary", None, 2 * HOUR, 2 * HOUR, 24 * HOUR, 48 * HOUR),
    ("铂金 · 转人工 / Platinum, live handoff", "handoff", None, "platinum", 450, 15 * MINUTE, 24 * HOUR, None),
    ("转人工 / Live handoff", "handoff", None, None, 15 * MINUTE, 15 * MINUTE, 24 * HOUR, None),
    ("铂金 · 申请 / Platinum, request", "request", None, "platinum", 2 * HOUR, 2 * HOUR, 24 * HOUR, None),
    ("申请 / Request", "request", None, None, 4 * HOUR, 2 * HOUR, 24 * HOUR, None),
)
EMOTIONS = {"angry": ("生气", "angry"), "sad": ("失望", "disappointed"), "worried": ("着急", "worried"),
            "watch": ("不满", "unhappy")}


def furnish_desk(session: Session, files: ShopFiles, now: datetime, passwords: Mapping[str, str]) -> None:
    """Put everything into the store that is there before the first customer comes.

    Args:
        session: the unit of work.
        files: what the shop is made of.
        now: when it is done.
        passwords: the password of each login.
    """
    session.add_all(Tier(**tier) for tier in TIERS)
    teams = {level: Team(name=name, level=level) for level, name in TEAMS}
    session.add_all(teams.values())
    calendar = BusinessCalendar(**CALENDAR)
    session.add(calendar)
    session.flush()
    for login, name, role, level, languages, capacity in AGENTS:
        session.add(SupportAgent(
            login=login, name=name, role=role, team_id=teams[level].id, languages=languages, capacity=capacity,
            password_hash=hash_password(passwords[login]), available=role != "admin", active=True,
            interface_language="zh" if "zh" in languages else "en", created_at=now))
    for position, (name, kind, grade, tier, first, following, resolution, follow_up) in enumerate(POLICIES, 1):
        session.add(SlaPolicy(
            name=name, position=position, ticket_kind=kind, grade=grade, tier_code=tier, calendar_id=calendar.id,
            first_response_seconds=first, next_response_seconds=following, resolution_seconds=resolution,
            follow_up_seconds=follow_up))
    session.add_all(Product(
        sku=each["sku"], name_zh=each["name_zh"], name_en=each["name_en"], price_fen=each["price_fen"],
        aliases=[*each["aliases_zh"], *each["aliases_en"]], category=each["category"]) for each in files.products)
    session.add_all(Reward(**each) for each in files.rewards)
    session.add_all(Macro(**each) for each in files.macros)
    for number, phrase in enumerate(files.empathy, 1):
        title_zh, title_en = EMOTIONS.get(phrase["emotion"], (phrase["emotion"],) * 2)
        session.add(Macro(code=f"empathy-{number:02}", emotion=phrase["emotion"], title_zh=f"共情 · {title_zh}",
                          title_en=f"Empathy · {title_en}", text_zh=phrase["text_zh"], text_en=phrase["text_en"]))
    for article in files.articles:
        save_article(session, **vars(article), now=now)
    session.flush()

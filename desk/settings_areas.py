"""What can be set: for each kind of thing its fields, its list and the services that store it."""
from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from holidays.registry import COUNTRIES
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from crm_store.models import BusinessCalendar, KnowledgeArticle, Macro, Reward, SlaPolicy, SupportAgent, Team, Tier
from crm_store.models.base import LARGEST_ID
from crm_store.models.customers import LANGUAGES
from crm_store.models.staff import LEVELS, ROLES
from crm_store.models.tickets import GRADES, TICKET_KINDS
from crm_store.queries import settings as lists
from crm_store.rules.calendar import UNUSABLE, BusinessHours
from crm_store.rules.intents import INTENTS
from crm_store.rules.text import excerpt
from crm_store.services import shop_settings_loyalty as loyalty
from crm_store.services import shop_settings_sla as promises
from crm_store.services import shop_settings_texts as texts
from crm_store.services import staff
from desk.problems import Missing
from desk.rendering import Reader
from desk.settings_forms import (
    Field,
    Options,
    read_choice,
    read_choices,
    read_days,
    read_flag,
    read_hours,
    read_id,
    read_length,
    read_lines,
    read_number,
    read_whole,
    read_yuan,
    show_choices,
    show_flag,
    show_hours,
    show_length,
    show_lines,
    show_number,
    show_yuan,
)

EXCERPT = 120
DAYS = ("set_monday", "set_tuesday", "set_wednesday", "set_thursday", "set_friday", "set_saturday", "set_sunday")
CHINESE_NAMES = {
    "CN": "中国大陆", "HK": "中国香港", "MO": "中国澳门", "TW": "中国台湾", "SG": "新加坡", "JP": "日本",
    "KR": "韩国", "MY": "马来西亚", "TH": "泰国", "VN": "越南", "ID": "印度尼西亚", "PH": "菲律宾", "IN": "印度",
    "AU": "澳大利亚", "NZ": "新西兰", "US": "美国", "CA": "加拿大", "MX": "墨西哥", "BR": "巴西", "AR": "阿根廷",
    "GB": "英国", "IE": "爱尔兰", "FR": "法国", "DE": "德国", "AT": "奥地利", "CH": "瑞士", "IT": "意大利",
    "ES": "西班牙", "PT": "葡萄牙", "NL": "荷兰", "BE": "比利时", "SE": "瑞典", "NO": "挪威", "DK": "丹麦",
    "FI": "芬兰", "PL": "波兰", "CZ": "捷克", "GR": "希腊", "TR": "土耳其", "RU": "俄罗斯", "UA": "乌克兰",
    "IL": "以色列", "AE": "阿联酋", "SA": "沙特阿拉伯", "EG": "埃及", "ZA": "南非", "NG": "尼日利亚", "KE": "肯尼亚",
}


@dataclass(frozen=True)
class Cell:
    """A cell of a list."""

    text: str
    num: bool = False
    chip: str | None = None


@dataclass(frozen=True)
class Area:
    """One kind of thing that can be set."""

    path: str
    kind: str
    title: str
    about: str
    new: str | None
    fields: tuple[Field, ...]
    model: Any
    snapshot: Callable[[Session, Any], dict[str, Any]]
    save: Callable[..., Any]
    name: Callable[[Any, Reader], str]
    columns: tuple[str, ...]
    rows: Callable[[Session, Reader], list[tuple[Any, list[Cell]]]]
    creators: str = "manager"
    by_code: bool = False

    def key(self, text: str) -> Any:
        """The key of a row in an address.

        Raises:
            Missing: no row can have it.
        """
        if self.by_code:
            return text[:60].replace("\x00", "")
        if not (text.isascii() and text.isdigit()) or not 0 < int(text[:20]) <= LARGEST_ID:
            raise Missing()
        return int(text[:20])

    def load(self, session: Session, key: Any) -> Any:
        """The row.

        Raises:
            Missing: there is none.
        """
        row = session.get(self.model, key)
        if row is None:
            raise Missing()
        return row

    def key_of(self, row: Any) -> Any:
        """What names a row in an address."""
        return row.code if self.by_code else row.id


def tier_name(tier: Any, reader: Reader) -> str:
    """A tier's name in the reader's language."""
    return str(tier.name_zh if reader.language == "zh" else tier.name_en)


def _known(prefix: str, values: Sequence[str], none: str | None = None) -> Callable[[Session, Reader], Options]:
    def options(_: Session, reader: Reader) -> Options:
        first = [("", reader.say(none))] if none else []
        return first + [(value, reader.known(prefix, value)) for value in values]

    return options


def _tiers(none: str | None = None) -> Callable[[Session, Reader], Options]:
    def options(session: Session, reader: Reader) -> Options:
        first = [("", reader.say(none))] if none else []
        return first + [(tier.code, tier_name(tier, reader)) for tier in lists.tiers(session)]

    return options


def _calendars(session: Session, _: Reader) -> Options:
    return [(str(each.id), each.name) for each in lists.calendars(session)]


def _teams(session: Session, _: Reader) -> Options:
    return [(str(team.id), team.name) for team, _count in lists.teams(session)]


def _levels(_: Session, reader: Reader) -> Options:
    return [(level, level_name(level, reader)) for level in LEVELS]


def level_name(level: str, reader: Reader) -> str:
    """A level of the escalation chain in words."""
    return reader.say({"front_line": "set_front_line", "experts": "set_experts", "management": "set_management"}[level])


def emotion_name(emotion: str | None, reader: Reader) -> str:
    """An emotion that a phrase answers, in words."""
    words = {"angry": "set_emotion_angry", "watch": "set_emotion_unhappy", "worried": "set_emotion_worried",
             "sad": "set_emotion_sad"}
    return reader.say(words[emotion]) if emotion in words else emotion or "–"


def _emotions(_: Session, reader: Reader) -> Options:
    return [("", reader.say("set_no_emotion")), *((each, emotion_name(each, reader)) for each in texts.EMOTIONS)]


def _kinds(_: Session, reader: Reader) -> Options:
    return [("coupon", reader.say("set_coupon")), ("gift", reader.say("set_gift"))]


def _zones(_: Session, __: Reader) -> Options:
    return [(zone, zone) for zone in promises.time_zones()]


def _countries(_: Session, reader: Reader) -> Options:
    return [("", reader.say("set_no_holidays")), *country_names(reader.language)]


@lru_cache(maxsize=2)
def country_names(language: str) -> tuple[tuple[str, str], ...]:
    """The countries whose holidays are known, with their names; those with a Chinese name first in Chinese."""
    english = {names[1]: _spaced(names[0]) for names in COUNTRIES.values()}
    found = []
    for code in promises.holiday_countries():
        name = CHINESE_NAMES.get(code) if language == "zh" else None
        found.append((code, f"{name or english.get(code, code)} · {code}", name is None))
    if language == "zh":
        order = {code: number for number, code in enumerate(CHINESE_NAMES)}
        found.sort(key=lambda each: (each[2], order.get(each[0], 0)))
    else:
        found.sort(key=lambda each: each[1])
    return tuple((code, label) for code, label, _ in found)


def _spaced(name: str) -> str:
    return "".join(f" {sign}" if sign.isupper() and number else sign for number, sign in enumerate(name)).strip()


def _active(row: Any, reader: Reader) -> Cell:
    return Cell(reader.say("set_active" if row.active else "set_inactive"), chip="on" if row.active else "off")


def _yes(value: bool, reader: Reader) -> str:
    return reader.say("set_yes" if value else "set_no")


def matches(policy: Any, reader: Reader) -> str:
    """What a policy matches, in words."""
    said = [reader.known("kind", policy.ticket_kind) if policy.ticket_kind else "",
            reader.known("grade", policy.grade) if policy.grade else "", reader.tier(policy.tier_code)]
    return " · ".join(each for each in said if each) or reader.say("set_everything")


def _policy_rows(session: Session, reader: Reader) -> list[tuple[Any, list[Cell]]]:
    return [(each, [
        Cell(matches(each, reader)), *(Cell(show_length(getattr(each, name), reader) or "–", num=True)
                                       for name in promises.TARGETS),
        Cell(reader.say("set_always") if each.around_the_clock else each.calendar.name), _active(each, reader)])
        for each in lists.policies(session)]


def _calendar_rows(session: Session, reader: Reader) -> list[tuple[Any, list[Cell]]]:
    used = dict(session.execute(select(SlaPolicy.calendar_id, func.count()).where(SlaPolicy.active.is_(True))
                                .group_by(SlaPolicy.calendar_id)).all())
    names = dict(country_names(reader.language))
    rows = []
    for each in lists.calendars(session):
        rows.append((each, [
            Cell(each.time_zone), Cell(names.get(each.holidays, each.holidays or "–")), _open_now(each, reader),
            Cell(str(used.get(each.id, 0)), num=True)]))
    return rows


def _open_now(calendar: Any, reader: Reader) -> Cell:
    """Whether it is open; a calendar that cannot be used is shown, so that somebody puts it right."""
    try:
        is_open = BusinessHours.of(calendar).is_open(reader.now)
    except UNUSABLE:
        return Cell(reader.say("set_unusable"), chip="warn")
    return Cell(reader.say("set_open_now" if is_open else "set_closed_now"), chip="on" if is_open else "off")


def _tier_rows(session: Session, reader: Reader) -> list[tuple[Any, list[Cell]]]:
    return [(each, [
        Cell(reader.money(each.minimum_spend_fen), num=True),
        Cell("×" + show_number(each.multiplier, reader), num=True),
        Cell(f"{each.anger_watch:.2f}", num=True), Cell(f"{each.anger_route:.2f}", num=True)])
        for each in lists.tiers(session)]


def _reward_rows(session: Session, reader: Reader) -> list[tuple[Any, list[Cell]]]:
    kinds = dict(_kinds(session, reader))
    return [(each, [
        Cell(each.code), Cell(kinds.get(each.kind, each.kind)), Cell(f"{each.cost_points:,}", num=True),
        Cell(f"{each.stock:,}", num=True, chip=None if each.stock else "warn"), Cell(reader.tier(each.minimum_tier)),
        _active(each, reader)]) for each in lists.rewards(session)]


def _macro_rows(session: Session, reader: Reader) -> list[tuple[Any, list[Cell]]]:
    return [(each, [
        Cell(emotion_name(each.emotion, reader)),
        Cell(excerpt(each.text_zh if reader.language == "zh" else each.text_en, EXCERPT))])
        for each in lists.macros(session)]


def _article_rows(session: Session, reader: Reader) -> list[tuple[Any, list[Cell]]]:
    return [(each, [
        Cell(reader.known("intent", each.intent)), Cell(each.slug), Cell(reader.clock(each.updated_at), num=True),
        Cell(reader.say("set_published" if each.published else "set_draft"), chip="on" if each.published else "off")])
        for each in lists.articles(session)]


def _team_rows(session: Session, reader: Reader) -> list[tuple[Any, list[Cell]]]:
    return [(team, [Cell(level_name(team.level, reader)), Cell(str(count), num=True)])
            for team, count in lists.teams(session)]


def _agent_rows(session: Session, reader: Reader) -> list[tuple[Any, list[Cell]]]:
    return [(each, [
        Cell(each.login), Cell(reader.known("role", each.role)), Cell(each.team.name),
        Cell(" ".join(reader.known("short", language) for language in each.languages)),
        Cell(f"{held} / {each.capacity}", num=True), Cell(_yes(each.available, reader)), _active(each, reader)])
        for each, held in lists.agents(session)]


def _in_both(name: str, label: str, **more: Any) -> tuple[Field, Field]:
    """The Chinese and the English of a text."""
    return (Field(f"{name}_zh", label, lang="zh", narrow=True, **more),
            Field(f"{name}_en", label, lang="en", narrow=True, **{**more, "part": None}))


def _length(name: str, label: str, **more: Any) -> Field:
    return Field(name, label, read=read_length, show=show_length, limit=40, narrow=True, **more)


NAME = Field("name", "set_name", limit=80)
ACTIVE = Field("active", "set_active", control="check", read=read_flag, show=show_flag, begins=True)

POLICIES = Area(
    "policies", "sla_policy", "set_policies", "set_policies_about", "set_policy_new",
    (NAME,
     Field("ticket_kind", "set_ticket_kind", control="select", read=read_choice, narrow=True,
           options=_known("kind", TICKET_KINDS, "any"), part="set_part_matches"),
     Field("grade", "grade", control="select", read=read_choice, narrow=True,
           options=_known("grade", GRADES, "any"), hint="set_grade_hint"),
     Field("tier_code", "set_tier", control="select", read=read_choice, options=_tiers("any"),
           narrow=True, hint="set_tier_hint"),
     _length("first_response_seconds", "promise_first_response", part="set_part_promises", hint="set_length_hint"),
     _length("next_response_seconds", "promise_next_response"), _length("resolution_seconds", "promise_resolution"),
     _length("follow_up_seconds", "promise_follow_up", hint="set_follow_up_hint"),
     Field("calendar_id", "set_calendar", control="select", read=read_id, options=_calendars, part="set_part_time",
           narrow=True),
     Field("around_the_clock", "set_around_the_clock", control="check", read=read_flag, show=show_flag),
     ACTIVE),
    SlaPolicy, lambda _, row: promises.policy_snapshot(row), promises.save_policy, lambda row, _: str(row.name),
    ("set_matches", "promise_first_response", "promise_next_response", "promise_resolution", "promise_follow_up",
     "set_hours", "set_state"), _policy_rows)

CALENDARS = Area(
    "calendars", "business_calendar", "set_calendars", "set_calendars_about", "set_calendar_new",
    (NAME,
     Field("time_zone", "set_time_zone", control="list", options=_zones, limit=60, narrow=True),
     Field("holidays", "set_holidays", control="select", read=read_choice, options=_countries,
           narrow=True, hint="set_holidays_hint"),
     *(Field(f"weekly_{number}", label, read=read_hours, show=show_hours, limit=200, narrow=True,
             part="set_part_week" if number == 0 else None, hint="set_hours_hint" if number == 0 else None)
       for number, label in enumerate(DAYS)),
     Field("closing_days", "set_closing_days", control="area", read=read_days, show=show_lines, optional=True,
           limit=6000, hint="set_closing_days_hint", part="set_part_closed")),
    BusinessCalendar, lambda _, row: promises.calendar_snapshot(row), promises.save_calendar,
    lambda row, _: str(row.name), ("set_time_zone", "set_holidays", "set_now", "set_used_by"), _calendar_rows)

TIERS = Area(
    "tiers", "tier", "set_tiers", "set_tiers_about", None,
    (*_in_both("name", "set_name", limit=40),
     Field("minimum_spend_fen", "set_minimum_spend", read=read_yuan, show=show_yuan, limit=20, narrow=True,
           hint="set_minimum_spend_hint"),
     Field("multiplier", "set_multiplier", read=read_number, show=show_number, limit=10, narrow=True,
           hint="set_multiplier_hint"),
     Field("anger_watch", "set_anger_watch", read=read_number, show=show_number, limit=10, narrow=True,
           hint="set_anger_watch_hint", part="set_part_anger"),
     Field("anger_route", "set_anger_route", read=read_number, show=show_number, limit=10, narrow=True,
           hint="set_anger_route_hint"),
     *_in_both("benefits", "set_benefits", control="area", limit=1000, part="set_part_benefits")),
    Tier, lambda _, row: loyalty.tier_snapshot(row), loyalty.save_tier, tier_name,
    ("set_minimum_spend", "set_multiplier", "set_anger_watch", "set_anger_route"), _tier_rows, by_code=True)

REWARDS = Area(
    "rewards", "reward", "set_rewards", "set_rewards_about", "set_reward_new",
    (Field("code", "set_code", limit=40, fixed=True, hint="set_reward_code_hint", narrow=True),
     Field("kind", "set_kind", control="select", read=read_choice, options=_kinds, narrow=True),
     *_in_both("name", "set_name", limit=120),
     Field("cost_points", "set_cost", read=read_whole, limit=14, narrow=True),
     Field("stock", "set_stock", read=read_whole, limit=14, narrow=True, hint="set_stock_hint"),
     Field("minimum_tier", "set_minimum_tier", control="select", read=read_choice, options=_tiers(), narrow=True),
     ACTIVE),
    Reward, lambda _, row: loyalty.reward_snapshot(row), loyalty.save_reward,
    lambda row, reader: str(row.name_zh if reader.language == "zh" else row.name_en),
    ("set_code", "set_kind", "set_cost", "set_stock", "set_minimum_tier", "set_state"), _reward_rows)

MACROS = Area(
    "macros", "macro", "set_macros", "set_macros_about", "set_macro_new",
    (*_in_both("title", "set_title", limit=120),
     Field("emotion", "set_emotion", control="select", read=read_choice, options=_emotions, narrow=True,
           hint="set_emotion_hint"),
     *_in_both("text", "set_text", control="area", limit=2000, rows=7, part="set_part_text")),
    Macro, lambda _, row: texts.macro_snapshot(row), texts.save_macro,
    lambda row, reader: str(row.title_zh if reader.language == "zh" else row.title_en),
    ("set_emotion", "set_text"), _macro_rows)

ARTICLES = Area(
    "articles", "article", "set_articles", "set_articles_about", "set_article_new",
    (Field("slug", "set_slug", limit=80, fixed=True, hint="set_slug_hint", narrow=True),
     Field("intent", "set_intent", control="select", read=read_choice, options=_known("intent", INTENTS), narrow=True,
           hint="set_intent_hint"),
     *_in_both("title", "set_title", limit=200),
     *_in_both("body", "set_body", control="area", limit=5000, rows=12),
     *_in_both("questions", "set_questions", control="area", limit=6500, rows=5, read=read_lines, show=show_lines,
               optional=True, hint="set_questions_hint"),
     Field("published", "set_published", control="check", read=read_flag, show=show_flag, begins=True,
           hint="set_published_hint")),
    KnowledgeArticle, texts.article_snapshot, texts.change_article,
    lambda row, reader: str(row.title_zh if reader.language == "zh" else row.title_en),
    ("set_intent", "set_slug", "set_changed_at", "set_state"), _article_rows)

TEAMS = Area(
    "teams", "team", "set_teams", "set_teams_about", "set_team_new",
    (NAME, Field("level", "set_level", control="select", read=read_choice, options=_levels, hint="set_level_hint",
                 narrow=True)),
    Team, lambda _, row: staff.team_snapshot(row), staff.save_team, lambda row, _: str(row.name),
    ("set_level", "set_members"), _team_rows)

AGENTS = Area(
    "agents", "agent", "set_agents", "set_agents_about", "set_agent_new",
    (Field("login", "login", limit=60, fixed=True, hint="set_login_hint", narrow=True),
     Field("name", "set_person", limit=120, admins=True, narrow=True),
     Field("role", "set_role", control="select", read=read_choice, options=_known("role", ROLES), admins=True,
           narrow=True, hint="set_role_hint"),
     Field("team_id", "set_team", control="select", read=read_id, options=_teams, narrow=True),
     Field("languages", "set_languages", control="checks", read=read_choices, show=show_choices,
           options=_known("language", LANGUAGES), begins=list(LANGUAGES), narrow=True),
     Field("interface_language", "set_interface_language", control="select", read=read_choice,
           options=_known("language", LANGUAGES), narrow=True),
     Field("capacity", "set_capacity", read=read_whole, limit=4, begins=5, hint="set_capacity_hint", narrow=True),
     Field("available", "available", control="check", read=read_flag, show=show_flag, begins=True,
           hint="set_available_hint"),
     Field("active", "set_active", control="check", read=read_flag, show=show_flag, begins=True, admins=True,
           hint="set_may_enter_hint")),
    SupportAgent, lambda _, row: staff.agent_snapshot(row), staff.change_agent, lambda row, _: str(row.name),
    ("login", "set_role", "set_team", "set_languages", "set_load", "available", "set_state"), _agent_rows,
    creators="admin")

AREAS = {area.path: area for area in (POLICIES, CALENDARS, TIERS, REWARDS, MACROS, ARTICLES, TEAMS, AGENTS)}
BY_KIND = {area.kind: area for area in AREAS.values()}
GROUPS = (("set_group_promises", ("policies", "calendars")), ("set_group_loyalty", ("tiers", "rewards")),
          ("set_group_texts", ("macros", "articles")), ("set_group_people", ("teams", "agents")))

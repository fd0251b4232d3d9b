"""Days as customers name them, found in folded text and resolved against a given day: 上周三, Oct 18, 3 days ago."""
from __future__ import annotations

import calendar
import re
from collections.abc import Callable, Iterator
from datetime import date, timedelta
from typing import NamedTuple

from bot.nlu.numerals import CHINESE, ENGLISH, parse_number


class DayFound(NamedTuple):
    """One expression: where it stands and, where a day was given to count from, the day it means."""

    start: int
    end: int
    day: date | None


_Resolve = Callable[["re.Match[str]", date], "date | None"]

_WEEKDAYS_ZH = {**{character: index for index, character in enumerate("一二三四五六日")},
                **{str(index + 1): index for index in range(7)}, "天": 6, "末": 5}
_WEEKDAYS_EN = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_MONTHS_EN = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_MONTH = (r"(?:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?"
          r"|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)")
_FULL_WEEKDAY = "(?:mon|tues|wednes|thurs|fri|satur|sun)day"
_ANY_WEEKDAY = rf"(?:{_FULL_WEEKDAY}|mon|tues?|wed|thu(?:rs?)?|fri|sat|sun)"
_DAY_ZH = "(?:[0-9]{1,2}|[一二三四五六七八九十]{1,3})"
_RELATIVE = {"大前": -3, "前": -2, "昨": -1, "今": 0, "明": 1, "后": 2, "大后": 3}
_RELATIVE_EN = {"the day before yesterday": -2, "day before yesterday": -2, "yesterday": -1, "last night": -1,
                "today": 0, "tonight": 0, "this morning": 0, "this afternoon": 0, "this evening": 0,
                "the day after tomorrow": 2, "day after tomorrow": 2, "tomorrow": 1}


def _day(year: int, month: int, day: int) -> date | None:
    try:
        return date(year, month, day)
    except ValueError:
        return None


def _number(text: str) -> int:
    return int(parse_number(text) or 0)


def _nearest(month: int, day: int, today: date) -> date | None:
    """A day without its year: of last, this and next year the latest not more than 60 days ahead."""
    possible = [_day(today.year + shift, month, day) for shift in (1, 0, -1)]
    return next((found for found in possible if found and found - today <= timedelta(days=60)), None)


def _months_on(today: date, months: int, day: int | None = None) -> date | None:
    index = today.year * 12 + today.month - 1 + months
    year, month = divmod(index, 12)
    if not 1 <= year <= 9999:
        return None
    return _day(year, month + 1, day or min(today.day, calendar.monthrange(year, month + 1)[1]))


def _shift(today: date, **amount: int) -> date | None:
    try:
        return today + timedelta(**amount)
    except OverflowError:
        return None


def _in_week(today: date, weeks: int, weekday: int) -> date | None:
    return _shift(today, days=weekday - today.weekday() + 7 * weeks)


def _full(match: re.Match[str], today: date) -> date | None:
    return _day(int(match["year"]), int(match["month"]), int(match["day"]))


def _month_day_zh(match: re.Match[str], today: date) -> date | None:
    month, day = _number(match["month"]), _number(match["day"])
    if match["said"]:
        return _day(today.year + {"去": -1, "今": 0, "明": 1}[match["said"]], month, day)
    return _day(_number(match["year"]), month, day) if match["year"] else _nearest(month, day, today)


def _month_day_en(match: re.Match[str], today: date) -> date | None:
    month = _MONTHS_EN.index(match["month"][:3]) + 1
    if match["year"]:
        return _day(int(match["year"]), month, int(match["day"]))
    return _nearest(month, int(match["day"]), today)


def _in_month_zh(match: re.Match[str], today: date) -> date | None:
    return _months_on(today, {"上": -1, "下": 1}.get(match["which"], 0), _number(match["day"]))


def _bare_day(match: re.Match[str], today: date) -> date | None:
    day = _number(match["day"])
    this_month = _months_on(today, 0, day) if 1 <= day <= 31 else None
    if this_month and this_month - today <= timedelta(days=7):
        return this_month
    return _months_on(today, -1, day) if 1 <= day <= 31 else None


def _weekday_zh(match: re.Match[str], today: date) -> date | None:
    weekday, said = _WEEKDAYS_ZH[match["weekday"]], match["which"]
    if not said:
        return _shift(today, days=-((today.weekday() - weekday) % 7))
    weeks = {"上": -1, "上上": -2, "下": 1, "下下": 2}.get(said, 0)
    return _in_week(today, weeks, weekday)


def _coming_weekday_zh(match: re.Match[str], today: date) -> date | None:
    return _shift(today, days=(_WEEKDAYS_ZH[match["weekday"]] - today.weekday()) % 7)


def _weekday_en(match: re.Match[str], today: date) -> date | None:
    weekday = _WEEKDAYS_EN.index(match["weekday"][:3])
    said = match["which"] or ""
    if said == "last":
        return _shift(today, days=-(((today.weekday() - weekday - 1) % 7) + 1))
    if said in ("this", "next"):
        return _in_week(today, 1 if said == "next" else 0, weekday)
    if said in ("by", "until", "till", "before"):
        return _shift(today, days=(weekday - today.weekday()) % 7)
    return _shift(today, days=-((today.weekday() - weekday) % 7))


def _count(match: re.Match[str], today: date) -> date | None:
    half = match["count"] == "半"
    count = 2 if "couple" in match["count"] else _number(match["count"])
    sign = 1 if match["way"] in ("后", "以后", "之后", "later", "from now", "in") else -1
    unit = match["unit"]
    if half:
        return _shift(today, days=sign * 15) if unit == "月" else None
    if unit in ("天", "日", "day"):
        return _shift(today, days=sign * count)
    if unit in ("周", "星期", "礼拜", "week"):
        return _shift(today, weeks=sign * count)
    return _months_on(today, sign * count * (12 if unit in ("年", "year") else 1))


def _slashed(match: re.Match[str], today: date) -> date | None:
    first, second = int(match["first"]), int(match["second"])
    month, day = (second, first) if first > 12 else (first, second)
    if match["year"]:
        return _day(int(match["year"]), month, day)
    return _nearest(month, day, today)


_END = r"(?![a-z0-9])"
_RULES: tuple[tuple[re.Pattern[str], _Resolve], ...] = tuple((re.compile(pattern), resolve) for pattern, resolve in (
    (r"(?<![0-9.a-z-])(?P<year>20[0-9]{2})[-/.年] ?(?P<month>[0-9]{1,2})[-/.月] ?(?P<day>[0-9]{1,2})[日号]?(?![0-9-])",
     _full),
    (r"(?<![0-9a-z-])(?P<year>20[0-9]{2})(?P<month>0[1-9]|1[0-2])(?P<day>0[1-9]|[12][0-9]|3[01])(?![0-9a-z-])", _full),
    (r"(?<![0-9一二三四五六七八九十])"
     r"(?:(?P<said>[去今明])年|(?P<year>20[0-9]{2}|二零[零一二三四五六七八九]{2})年)? ?"
     rf"(?P<month>{_DAY_ZH}) ?月 ?(?P<day>{_DAY_ZH})(?:[日号]|(?![0-9一二三四五六七八九十天个年]))", _month_day_zh),
    (rf"(?P<which>[上这本下])个?月(?P<day>{_DAY_ZH})[日号]", _in_month_zh),
    (r"(?<![0-9一二三四五六七八九十几两每半整上下这本])个?(?:周|星期|礼拜)(?P<weekday>[一二三四五六日天末]|[1-7](?![0-9]))"
     r"(?=之?前|以前|再|能|会|可以)", _coming_weekday_zh),
    (r"(?<![0-9一二三四五六七八九十几两每半整])(?P<which>上上|上|这|本|下下|下)?个?(?:周|星期|礼拜)"
     r"(?P<weekday>[一二三四五六日天末]|[1-7](?![0-9]))(?!年)", _weekday_zh),
    (r"(?<![以之然目当])(?P<which>大前|前|昨|今|明|大后|后)[天日](?![0-9])",
     lambda match, today: _shift(today, days=_RELATIVE[match["which"]])),
    (r"(?P<which>[昨今明])(?:晚上?|早上?|晨|儿)", lambda match, today: _shift(today, days=_RELATIVE[match["which"]])),
    (rf"(?P<count>[0-9]{{1,3}}|半|{CHINESE}) ?个?(?P<unit>天|日|周|星期|礼拜|月|年)(?P<way>之前|以前|前|之后|以后|后)",
     _count),
    (r"(?<![0-9a-z一二三四五六七八九十月-])(?P<day>[0-9]{1,2}|[一二三四五六七八九十]{2,3})"
     r"(?:号(?![楼线店房门床院码桌机仓库馆厅口井电车单元])|日(?![元常用本期]))", _bare_day),
    (rf"(?<![a-z])(?P<month>{_MONTH})\.? ?(?P<day>[0-9]{{1,2}})(?:st|nd|rd|th)?{_END}(?:,? ?(?P<year>20[0-9]{{2}})"
     rf"{_END})?", _month_day_en),
    (rf"(?<![a-z0-9])(?P<day>[0-9]{{1,2}})(?:st|nd|rd|th)? ?(?:of )?(?P<month>{_MONTH})\.?{_END}"
     rf"(?:,? ?(?P<year>20[0-9]{{2}}){_END})?", _month_day_en),
    (rf"(?<![a-z])(?:on|by|after|before|until|till|since) the (?P<day>[0-9]{{1,2}})(?:st|nd|rd|th){_END}", _bare_day),
    (rf"(?<![a-z])(?:(?P<which>last|this|next|on|by|since|until|till|before|past) )(?P<weekday>{_ANY_WEEKDAY}){_END}",
     _weekday_en),
    (rf"(?<![a-z])(?P<which>(?!))?(?P<weekday>{_FULL_WEEKDAY}){_END}", _weekday_en),
    (rf"(?<![a-z])(?P<said>{'|'.join(sorted(_RELATIVE_EN, key=len, reverse=True))}){_END}",
     lambda match, today: _shift(today, days=_RELATIVE_EN[match["said"]])),
    (rf"(?<![a-z0-9.])(?P<count>[0-9]{{1,3}}|a couple of|couple of|an?|{ENGLISH}) (?P<unit>day|week|month|year)s? "
     rf"(?P<way>ago|later|from now){_END}", _count),
    (rf"(?<![a-z])(?P<way>in) (?P<count>[0-9]{{1,3}}|an?|{ENGLISH}) (?P<unit>day|week|month)s?{_END}(?! time)", _count),
    (r"(?<![0-9/.a-z])(?P<first>[0-9]{1,2})/(?P<second>[0-9]{1,2})/(?P<year>20[0-9]{2})(?![0-9/])", _slashed),
    (r"(?<![0-9/.a-z])(?P<first>1[3-9]|2[0-35-9]|3[01])/(?P<second>0?[1-9]|1[0-2])(?P<year>(?!))?(?![0-9/])", _slashed),
    (r"(?<![0-9/.a-z])(?P<first>0?[1-9]|1[0-2])/(?P<second>1[3-9]|2[0-9]|3[01])(?P<year>(?!))?(?![0-9/])", _slashed),
))
_PREPOSITION = re.compile(r"(?:on|by|after|before|until|till|since|past) (?:the )?")

# Any day will do to tell whether an expression names one at all (31 June does not).
_SOME_DAY = date(2024, 3, 31)


def find_days(text: str, today: date | None) -> Iterator[DayFound]:
    """The days that ``text`` names; expressions may overlap.

    A weekday alone is the latest one, today included, or the coming one where it is a limit (周五之前, by Friday) or
    what follows is still to come (周五能到吗); with 上 it is in the week before this one (weeks start on Monday). A
    month and day without a year are the latest such day that is not more than 60 days ahead.

    Args:
        text: Folded text (see ``bot.nlu.script.fold``).
        today: The customer's current day, or None where it is not known.
    """
    for pattern, resolve in _RULES:
        for match in pattern.finditer(text):
            if resolve(match, today or _SOME_DAY) is None:
                continue
            preposition = _PREPOSITION.match(text, match.start())
            start = preposition.end() if preposition and preposition.end() < match.end() else match.start()
            yield DayFound(start, match.end(), resolve(match, today) if today else None)

"""The forms that the details of a message have, as regular expressions over folded text, and how each is read."""
from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import date
from decimal import Decimal

from bot.nlu.numerals import ARABIC, CHARACTERS, CHINESE, ENGLISH, MIXED, parse_number

Value = str | float | int
_Read = Callable[["re.Match[str]"], "Value | None"]


def _order_number(match: re.Match[str]) -> str | None:
    digits = _digits(match)
    try:
        date(int(digits[:4]), int(digits[4:6]), int(digits[6:8]))
    except ValueError:
        return None
    return f"WL{digits}"


def _complaint_number(match: re.Match[str]) -> str:
    return f"C{match['value']}"


def _digits(match: re.Match[str]) -> str:
    return re.sub("[^0-9]", "", match["value"])


def _letters_and_digits(match: re.Match[str]) -> str:
    return re.sub("[^a-z0-9]", "", match["value"]).upper()


def _points(match: re.Match[str]) -> int | None:
    number = parse_number(match["value"])
    return None if number is None or number != int(number) else int(number)


def _amount(match: re.Match[str]) -> float | None:
    number = parse_number(match["value"])
    if number is None:
        return None
    groups = match.groupdict()
    number *= {"k": 1000, "w": 10_000, "万": 10_000, "千": 1000}.get(groups.get("scale") or "", 1)
    if tenths := groups.get("jiao"):  # 8块5
        number += (parse_number(tenths) or Decimal(0)) / 10
    return float(number)


_DAY = "20[1-4][0-9][ -]?(?:0[1-9]|1[0-2])[ -]?(?:0[1-9]|[12][0-9]|3[01])"
_ABOUT = "[多来几余]?"
_YUAN_ZH = "(?:元(?![旦素件宵])钱?|块钱|块(?![儿巾布板屏毯砖地香])|圆(?![形的])|人民币|大洋|刀(?!具))"
_YUAN_EN = "(?:rmb|cny|yuans?|kuai|bucks?|dollars?|usd|hkd|ntd?|quid|euros?)(?![a-z])"
_SIGN = "(?:us|hk|nt|a)?[$¥€£]|(?<![a-z])(?:rmb|cny|usd)[:. ]?"
_LOST = ("(?:损失|赔偿?|花费?|付|扣|退|差价|价值|值|少|多收|被骗|总共|一共|亏)"
         "(?:给?[我你]|了|个|大概|大约|约|差不多|是|有|:|,| )*")
_PAID = (r"(?<![a-z])(?:paid|pay|paying|(?:over)?charged|costs?|spent|owed?|owes|worth|refund(?:ed)?|deducted|lost|"
         r"price is|difference of|total (?:of|is))(?: (?:you|me|us|him|her|back|just|only|about|around|over|nearly|"
         r"almost|exactly|roughly|by|of|was|is|another|an extra)){0,3} ")
_OTHER_UNIT_EN = (r"(?![0-9/%:a-z-]|[.,][0-9])(?! ?(?:points?|pts?|percent)\b)"
                  r"(?! (?!plus\b|is\b|was\b|as\b|this\b)[a-z]+s\b)")  # times, days, towels
_OTHER_UNIT = ("(?![.,:]?[0-9])(?![/a-z%一二两三四五六七八九零个件条只次天年月周日小号米分点积倍折期码位张套床"
               "公斤克升毫瓦单把盏名项笔十百千万])")
_NOT_POINTS = "(?![钟之期店类享公米贝辨别手工秒开批付给])"
_COMPLAINT = ("(?:投诉|申诉|客诉|工单|complaint|case|ticket)(?:单|编)?号? ?"
              "(?:number|no\\.?|num|id)?[是为: #]{0,3}(?:is )?")
_TAIL_ZH = "(?:尾号|尾数|手机尾|[后末最]后?[四4]位(?:数字?)?)"
_TAIL_EN = ("(?:last (?:four|4)(?: digits?| numbers?)?|(?<!card )(?:ends|ending)(?: in| with)?"
            "|tail(?: number| no\\.?)?)"
            "(?: of (?:my |the )?(?:phone|mobile|cell|number)(?: number)?)?(?:'s|'re| is| are|:|,|=)?")
_CARRIER = "(?:sf|yt|jd[a-z]{0,2}|jt|zto?|sto?|yd|dpk|ems|best|db|cn)"

# What is parsed is the group "value"; it is also the entity's span, unless a group "span" says otherwise.
_TABLE: tuple[tuple[str, _Read, tuple[str, ...]], ...] = (
    ("email", lambda match: str(match["value"]), (
        r"(?<![a-z0-9._%+-])(?P<value>[a-z0-9][a-z0-9._%+-]{0,63}@(?:[a-z0-9-]{1,63}\.){1,5}[a-z]{2,24})"
        r"(?![a-z0-9@])",
    )),
    ("order_number", _order_number, (
        rf"(?<![a-z0-9])(?P<span>wl[ \-_.:#]{{0,3}}(?P<value>{_DAY}[ -]?[0-9]{{3}}))(?![0-9])",
        rf"(?<![a-z0-9+.,-])(?P<value>{_DAY}[ -]?[0-9]{{3}})(?![0-9-])"
        rf"(?! ?(?:{_YUAN_ZH}|{_YUAN_EN}|积?分|points?|个|件|米|ml|cm|kg))",
    )),
    ("complaint_number", _complaint_number, (
        r"(?<![a-z0-9])(?P<span>c[-#]?(?P<value>[0-9]{2,9}))(?![0-9a-z])",
        rf"{_COMPLAINT}(?P<span>(?:c ?)?(?P<value>[0-9]{{3,9}}))(?![0-9a-z年月日号天元块次遍])",
    )),
    ("phone", lambda match: _digits(match), (
        r"(?<![0-9a-z.])(?P<span>(?:(?:\+|00)?86[ -]{0,2})?(?P<value>1[3-9][0-9](?:[ -]?[0-9]){8}))(?![0-9])",
        r"(?<![0-9a-z.])(?P<value>09[0-9]{2}[ -]?[0-9]{3}[ -]?[0-9]{3})(?![0-9])",  # Taiwan
    )),
    ("tracking_number", _letters_and_digits, (
        rf"(?<![a-z0-9])(?P<value>{_CARRIER}(?:[ -]?[0-9]){{10,15}})(?![0-9a-z])",
        r"(?<![a-z0-9])(?P<value>[a-z]{2}[0-9]{9}cn)(?![0-9a-z])",
        r"(?<![0-9a-z.+-])(?P<value>[0-9]{12,15})(?![0-9a-z.])",
    )),
    ("phone_tail", _digits, (
        rf"(?<!订单)(?<!单号)(?<!卡号)(?<!卡){_TAIL_ZH}[是为: ]{{0,3}}(?P<value>[0-9]{{4}})(?![0-9])",
        rf"(?<![a-z]){_TAIL_EN}[ :]{{0,2}}(?P<value>[0-9]{{4}})(?![0-9])",
        r"(?<![0-9])(?P<value>[0-9]{4})(?:结尾|收尾|尾号)(?![0-9:是为])",
    )),
    ("points", _points, (
        rf"(?<![0-9])(?<![0-9][.,])(?P<span>(?P<value>{ARABIC}[百千万]?|{CHINESE}) ?{_ABOUT} ?个?(?:点积分|积分|点数))",
        r"(?<![0-9点时:])(?<![0-9][.,])"
        rf"(?P<span>(?P<value>[0-9]{{2,7}}|[0-9],[0-9]{{3}}|{ARABIC}[百千万]|{CHARACTERS}{{2,8}}) ?{_ABOUT}分)"
        rf"{_NOT_POINTS}",
        r"(?<![0-9])(?<![0-9][.,])"
        rf"(?P<span>(?P<value>[0-9]{{3,7}}|{CHARACTERS}[百千万]{CHARACTERS}{{0,5}}) ?点)(?![0-9钟半多左前后])",
        r"积分(?:还|只|共|一共|总共)*(?:有|剩下?|余)(?:有|了)?(?P<value>[0-9]{2,7})(?![0-9.,a-z%个元块天月])",
        rf"(?<![0-9a-z])(?<![0-9][.,])(?P<span>(?P<value>{ARABIC}k?|{ENGLISH}) ?(?:of (?:my|the|your|those|these) )?"
        r"(?:(?:loyalty|rewards?|bonus|member(?:ship)?|shop|store|club|extra|more|free) )?(?:points?|pts?))(?![a-z])",
        r"(?<![a-z])(?:points?|pts?)(?: balance)?(?: (?:is|was|are|were|of|at|says|shows)|:){1,2} ?"
        r"(?:only |just |now )?(?P<value>[0-9]{2,7}|[0-9],[0-9]{3})(?![0-9%a-z]|[.,][0-9])",
    )),
    ("amount", _amount, (
        rf"(?P<span>(?:{_SIGN}) ?(?P<value>{ARABIC})(?: ?(?P<scale>[kw万千]))?(?: ?{_YUAN_ZH}| ?{_YUAN_EN})?)"
        r"(?![0-9a-z])",
        r"(?<![0-9])(?<![0-9][.,])(?!一块(?![钱一二三四五六七八九0-9]))"  # 一块 is "together" at least as often
        rf"(?P<span>(?P<value>{MIXED}) ?{_ABOUT}{_YUAN_ZH}(?P<jiao>[0-9一二三四五六七八九](?![0-9十百千个]))?"
        r"(?:毛(?![巾毯衣绒线]))?)(?![0-9])",
        rf"(?<![0-9a-z])(?<![0-9][.,])(?P<span>(?P<value>{ARABIC}|{ENGLISH}) ?(?P<scale>[kw])? ?{_YUAN_EN})",
        r"(?<![0-9a-z])(?<![0-9][.,])(?P<value>[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]{1,2})?|[0-9]{1,7}\.[0-9]{2})"
        r"(?![0-9.,%a-z°℃米升斤公厘克号寸折倍])",
        rf"{_PAID}(?P<value>[0-9]{{2,6}}(?:\.[0-9]{{1,2}})?){_OTHER_UNIT_EN}",
        rf"{_LOST}(?P<value>[0-9]{{2,6}}(?:\.[0-9]{{1,2}})?|{CHARACTERS}{{2,8}}){_ABOUT}{_OTHER_UNIT}",
    )),
)
_PATTERNS = tuple((entity, re.compile(pattern), read) for entity, read, patterns in _TABLE for pattern in patterns)


def find_patterns(text: str) -> Iterator[tuple[str, int, int, Value]]:
    """Everything in ``text`` that has the form of a detail: entity, start, end, value; they may overlap.

    Args:
        text: Folded text (see ``bot.nlu.script.fold``).
    """
    for entity, pattern, read in _PATTERNS:
        for match in pattern.finditer(text):
            value = read(match)
            if value is not None:
                yield entity, *match.span("span" if "span" in pattern.groupindex else "value"), value

"""Reads short answers people give inside a form: yes, never mind, the second one, a number. Pure functions."""
from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

SHORT = 24  # characters; longer texts say something of their own

def any_of(*parts: str, start: str = "", end: str = "") -> re.Pattern[str]:
    """A pattern that finds any of ``parts``, between ``start`` and ``end``."""
    return re.compile(f"{start}(?:{'|'.join(parts)}){end}", re.IGNORECASE)


_PARTICLES = r"([了的吧呀啊哦嗯!]*|[ ,].*)$"
NEVER_MIND = any_of(
    "算了", r"(先|还是)?不(办|弄|搞|查|投诉|换|退|取消|改|填|说|验证|绑定)了", "先?不用了",
    "取消(操作|流程|申请|投诉|兑换)", "^取消[了吧]?$", "停(下|止)?$", "退出", "不想(办|弄|说|填)了",
    r"\bnever ?mind\b", r"\bforget (it|about it)\b", r"\b(please )?(stop|quit|exit)( (it|this|that))?$",
    r"\bcancel (this|that|it)$", "^cancel$", r"\bleave it\b", r"\bdon'?t bother\b", r"\bno longer (want|need)\b",
    r"\bchanged my mind\b",
)
NO = any_of(
    "不", "不是", "不要", "不用", "不了", "不行", "不对", "否", "没有", "没", "别",
    "no", "nope", "nah", "not?", "don'?t", "no thanks?", "no,? thank you", start="^", end=_PARTICLES,
)
YES = any_of(
    "是", "是的", "对", "对的", "没错", "好", "好的", "好吧", "好呀", "可以", "行", "嗯+", "确认", "确定", "要", "要的",
    "就这个", "就是(它|这个|这笔|这单)", "没问题",
    "ok", "okay", "okey", "yes", "yep", "yeah", "yup", "y", "sure", "correct", "right", "confirm", "please do",
    "go ahead", "that'?s (it|right|the one)", "of course", start="^", end=_PARTICLES,
)
SKIP = any_of(
    "跳过", "略过", "没有订单", "不是订单", "(和|跟|与)订单(无关|没关系)", "无关", "不(想|方便|愿意)说",
    "没(什么)?(原因|理由)",
    r"\bskip\b", r"\bnone\b", r"\bno order\b", "not about an? order", "not related", r"\bn/?a\b", "rather not say",
    "no (particular )?reason",
)
OTHER_ONE = any_of(
    "另(外)?一?(个|笔|单|件|份)", "别的", "其(他|它)(的)?(订单|那个|那笔)?", "换(一个|一笔|个订单|一单)",
    "不是(这|那)(个|笔|单|件)", "不对.{0,6}(订单|那个|那笔|另)", "(选|弄|搞|说)错了?(订单)?",
    r"\b(the )?other (one|order)\b", r"\banother (one|order)\b", r"\ba different (one|order)\b",
    r"\bnot (that|this) (one|order)\b", r"\bwrong (one|order)\b", r"\bsomething else\b",
)
RESEND = any_of(
    "重(新)?发", "再发", "没(有)?收到", "没到",
    r"\bre-?send\b", "send (it )?again", "new code", "didn'?t (get|receive|arrive)", "not received",
)
LATEST = any_of(
    "最近", "最新", "最后一?(个|笔|单)", "刚(刚|才)?(买|下|说)", "上一?(个|笔|单)",
    r"\b(latest|last|newest|most recent|recent)\b",
)
QUESTION = any_of(
    r"[?？]\s*$", r"吗\b", "吗$", "呢$", "怎么", "怎样", "如何", "多少", "多久", "几天", "什么时候", "哪里", "在哪",
    "能不能", "可不可以", "是不是", "有没有", "为什么", "请问",
    r"^(how|what|when|where|who|which|why|can|could|do|does|did|is|are|may|will|would)\b",
)

CHINESE_DIGITS = {"一": 1, "二": 2, "两": 2, "三": 3, "四": 4, "五": 5, "六": 6, "七": 7, "八": 8, "九": 9, "十": 10}
ENGLISH_NUMBERS = {word: at for words in (
    ("first", "second", "third", "fourth", "fifth", "sixth"), ("1st", "2nd", "3rd", "4th", "5th", "6th"),
    ("one", "two", "three", "four", "five", "six")) for at, word in enumerate(words, start=1)}
ORDINAL_ZH = re.compile(r"第\s*([一二两三四五六七八九十]|\d{1,2})\s*(个|笔|单|项|条|件|种)?")
ORDINAL_EN = re.compile(r"\b(first|second|third|fourth|fifth|sixth|1st|2nd|3rd|4th|5th|6th)\b", re.IGNORECASE)
BARE_NUMBER = re.compile(
    r"^(?:选|要|选第|number |no\.? ?|#|option )?\s*"
    r"(\d{1,2}|[一二两三四五六七八九十]|one|two|three|four|five|six)\s*(号|个|\.)?$", re.IGNORECASE)
DAY_ZH = re.compile(r"(\d{1,2})\s*月\s*(\d{1,2})\s*[日号]?")
PHONE = re.compile(r"(?<!\d)(?:\+?86[- ]?)?(1[3-9]\d[- ]?\d{4}[- ]?\d{4})(?!\d)")
FOREIGN_PHONE = re.compile(r"(?<!\d)(\+[1-9]\d{0,2}[- ]?\d(?:[- ]?\d){6,12})(?!\d)")
EMAIL = re.compile(r"[A-Za-z0-9._%+-]+@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+")
CODE = re.compile(r"(?<!\d)(\d)[ -]?(\d)[ -]?(\d)[ -]?(\d)[ -]?(\d)[ -]?(\d)(?!\d)")
FOUR_DIGITS = re.compile(r"(?<!\d)(\d{4})(?!\d)")


def tidy(text: str) -> str:
    """The text without width differences and blank edges; the last punctuation off."""
    return unicodedata.normalize("NFKC", text).strip().rstrip("。.!！~～,，").strip()


def says_never_mind(text: str) -> bool:
    """Whether a short text calls the whole thing off: 算了, never mind."""
    text = tidy(text)
    return len(text) <= SHORT and bool(NEVER_MIND.search(text)) and not OTHER_ONE.search(text)


def says_yes(text: str) -> bool:
    """Whether a short text agrees, and does nothing else."""
    text = tidy(text)
    return len(text) <= SHORT and bool(YES.match(text))


def says_no(text: str) -> bool:
    """Whether a short text refuses, and does nothing else."""
    text = tidy(text)
    return len(text) <= SHORT and bool(NO.match(text))


def says_skip(text: str) -> bool:
    """Whether a short text leaves the question unanswered: 跳过, skip, not about an order."""
    text = tidy(text)
    return len(text) <= SHORT + 10 and bool(SKIP.search(text))


def wants_other_one(text: str) -> bool:
    """Whether the text says that it is not this one: 不对，是另一个订单; no, the other order."""
    return len(tidy(text)) <= 2 * SHORT and bool(OTHER_ONE.search(tidy(text)))


def wants_resend(text: str) -> bool:
    """Whether the customer asks for another code."""
    return bool(RESEND.search(tidy(text)))


def means_latest(text: str) -> bool:
    """Whether a short text means the newest: 最近那个, my last order."""
    text = tidy(text)
    return len(text) <= SHORT + 10 and bool(LATEST.search(text))


def asks_something(text: str) -> bool:
    """Whether the text is a question by its form."""
    return bool(QUESTION.search(tidy(text)))


def position_in(text: str, count: int) -> int | None:
    """Which of ``count`` listed things is meant: 第二个, the second one, 2. From 0; None where none is."""
    text = tidy(text)
    match = ORDINAL_ZH.search(text) or (BARE_NUMBER.match(text) if len(text) <= SHORT else None)
    number: int | None = None
    if match:
        number = _number(match[1])
    else:
        english = ORDINAL_EN.search(text)
        if english:
            number = ENGLISH_NUMBERS[english[1].lower()]
    return number - 1 if number is not None and 1 <= number <= count else None


def _number(word: str) -> int:
    if word.isdigit():
        return int(word)
    return CHINESE_DIGITS.get(word) or ENGLISH_NUMBERS[word.lower()]


def day_in(text: str) -> tuple[int, int] | None:
    """The month and day a text names (10月18日), or None."""
    match = DAY_ZH.search(tidy(text))
    return (int(match[1]), int(match[2])) if match else None


def phone_in(text: str) -> str | None:
    """A phone number in the text, digits only: a Chinese mobile number, or one that begins with +."""
    text = tidy(text)
    match = PHONE.search(text)
    if match:
        return re.sub(r"\D", "", match[1])
    foreign = FOREIGN_PHONE.search(text)
    return "+" + re.sub(r"\D", "", foreign[1]) if foreign else None


def email_in(text: str) -> str | None:
    """An e-mail address in the text, or None."""
    match = EMAIL.search(tidy(text))
    return match[0] if match else None


def code_in(text: str) -> str | None:
    """A 6-digit code in the text, however spaced."""
    match = CODE.search(tidy(text))
    return "".join(match.groups()) if match else None


def phone_tail_in(text: str) -> str | None:
    """The last four digits of a phone number: alone, or of a whole number."""
    whole = phone_in(text)
    if whole:
        return whole[-4:]
    match = FOUR_DIGITS.search(tidy(text))
    return match[1] if match else None


def named_in(text: str, names: Sequence[Sequence[str]]) -> list[int]:
    """Which things (each with several names) a text names, by position; a longer name wins over one inside it."""
    text = tidy(text).casefold()
    found: dict[int, int] = {}
    for at, of_one in enumerate(names):
        lengths = [len(name) for name in of_one if name and name.casefold() in text]
        if lengths:
            found[at] = max(lengths)
    longest = max(found.values(), default=0)
    return [at for at, length in found.items() if length == longest]


def likeness(one: str, other: str) -> float:
    """How many pairs of neighbouring signs two texts share, from 0 to 1 (Dice)."""
    first, second = ({text[at:at + 2] for at in range(len(text) - 1)}
                     for text in (tidy(one).casefold(), tidy(other).casefold()))
    return 2 * len(first & second) / (len(first) + len(second)) if first and second else 0.0

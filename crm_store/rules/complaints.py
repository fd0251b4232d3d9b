"""Grades complaints by what is said, what was lost and who complains; the rules are the lists in this file.

Words are found anywhere in a Chinese text and as whole words in an English one. A list may over-grade (nobody was
injured) but should not miss: a person reads every graded complaint.
"""
from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass

GRADES = ("ordinary", "complex", "major")
LEVEL_OF_GRADE = {"ordinary": "front_line", "complex": "experts", "major": "management"}
MAJOR_LOSS_FEN = 500_000
COMPLEX_LOSS_FEN = 50_000
HIGHEST_TIER = "platinum"

HARM = (
    "受伤", "受傷", "伤到", "傷到", "划伤", "劃傷", "割伤", "割傷", "烫伤", "燙傷", "烧伤", "燒傷", "砸伤", "砸傷",
    "摔伤", "摔傷", "流血", "骨折", "住院", "去医院", "去醫院", "进医院", "進醫院", "送医", "送醫", "看医生",
    "看醫生", "发高烧", "發高燒", "急诊", "急診", "就医", "就醫", "中毒", "过敏", "過敏", "呕吐", "嘔吐", "拉肚子",
    "腹泻", "腹瀉", "皮疹", "红肿", "紅腫", "触电", "觸電", "漏电", "漏電", "起火", "着火", "著火", "自燃", "爆炸",
    "冒烟", "冒煙", "安全隐患", "安全隱患", "安全事故", "人身安全", "有生命危险", "生命危險", "死亡", "injured",
    "injury", "injuries", "wounded", "bleeding", "bled", "got hurt", "hurt my", "hurt myself", "hurt him",
    "hurt her", "hurt us", "cut my", "burned my", "burnt my", "burned me", "burnt me", "burned her", "burned him",
    "scalded", "hospital", "emergency room", "doctor", "ambulance", "food poisoning", "poisoned", "poisoning",
    "allergic", "allergy", "rash", "made me sick", "made me ill", "got sick", "fell sick", "fell ill", "vomiting",
    "vomited", "threw up", "electric shock", "electrocuted", "caught fire", "on fire", "catch fire", "exploded",
    "explosion", "blew up", "smoke coming", "started smoking", "unsafe", "dangerous", "safety hazard",
    "safety issue", "safety risk", "hazard",
)
OUTSIDERS = (
    "12315", "工商", "市场监管", "市場監管", "市监局", "市監局", "监管部门", "監管部門", "消协", "消協", "消保委",
    "消费者协会", "消費者協會", "消委会", "消委會", "质监", "質監", "黑猫投诉", "黑貓投訴", "信访", "信訪", "媒体",
    "媒體", "记者", "記者", "电视台", "電視台", "报社", "報社", "新闻曝光", "新聞曝光", "曝光你", "曝光他",
    "找人曝光", "律师", "律師", "律师函", "律師函", "起诉", "起訴", "告你们", "告你們", "法院", "打官司", "诉讼",
    "訴訟", "法律途径", "法律途徑", "lawyer", "lawyers", "attorney", "solicitor", "lawsuit", "to court", "in court",
    "sue", "suing", "legal action", "legal advice", "press charges", "consumer association", "consumer protection",
    "consumers association", "consumer council", "regulator", "regulators", "trading standards", "ombudsman",
    "watchdog", "better business bureau", "market regulation", "market supervision", "journalist", "journalists",
    "reporter", "reporters", "newspaper", "newspapers", "the press", "the media", "news media", "tv station",
    "go public with",
)
# What it is about, and the department that takes care of that.
CATEGORIES = {
    "delivery": ("warehouse", (
        "快递", "快遞", "物流", "配送", "派送", "送货", "送貨", "包裹", "courier", "couriers", "delivery",
        "shipping", "parcel", "carrier",
    )),
    "product": ("warehouse", (
        "质量", "質量", "假货", "假貨", "次品", "瑕疵", "坏了", "壞了", "破损", "破損", "不能用", "用不了",
        "defect", "defective", "quality", "fake", "counterfeit", "faulty", "broken",
    )),
    "payment": ("finance", (
        "退款", "扣款", "多扣", "重复扣", "重複扣", "发票", "發票", "乱收费", "亂收費", "refund", "refunds",
        "refunded", "charged", "overcharged", "invoice", "payment",
    )),
    "service": ("desk", (
        "态度", "態度", "骂", "罵", "不理人", "没人理", "沒人理", "推卸", "敷衍", "rude", "attitude", "ignored me",
        "hung up", "unhelpful", "nobody answers", "no one answers",
    )),
}
_LOSS_WORDS = (
    "损失", "損失", "赔偿", "賠償", "赔我", "賠我", "亏了", "虧了", "loss", "losses", "lost", "cost me",
    "compensation", "compensate", "damages",
)
_AMOUNT = re.compile(
    r"(?P<before>[¥￥]|rmb|cny|usd|\$)?\s*(?P<number>\d{1,3}(?:,\d{3}){1,3}(?:\.\d{1,2})?|(?<!\d)\d{1,10}(?!\d)(?:\.\d{1,2})?)\s*"
    r"(?P<times>[万萬]|千(?!克)|k\b)?\s*(?P<after>元|块|塊|圆|人民币|人民幣|yuan|rmb|cny|kuai)?", re.IGNORECASE)
_TIMES = {"万": 10_000, "萬": 10_000, "千": 1000, "k": 1000, "K": 1000}


@dataclass(frozen=True)
class Grading:
    """A grade, the level of people who take care of it, and what made it so (for agents; customers never see it)."""

    grade: str
    level: str
    causes: tuple[str, ...]
    category: str


def grade_complaint(*, text: str, loss_fen: int | None = None, complained_lately: bool = False,
                    tier: str | None = None) -> Grading:
    """Grade a complaint.

    Major: injury, illness or safety; a regulator, the press or a lawyer named; a loss over ¥5,000. Complex: a loss over
    ¥500; another complaint of the same customer in the last 30 days; two departments involved; Platinum.

    Args:
        text: everything the customer said about it: what happened and what they wish.
        loss_fen: what they lost, in fen, where it was asked; otherwise it is looked for in the text.
        complained_lately: whether the same customer complained in the last 30 days.
        tier: the customer's tier; None for guests.
    """
    loss = loss_fen if loss_fen is not None else loss_in(text) or 0
    categories = [name for name, (_department, words) in CATEGORIES.items() if mentions(text, words)]
    departments = {CATEGORIES[name][0] for name in categories}
    major = [cause for cause, holds in (
        ("harm", mentions(text, HARM)), ("outsiders", mentions(text, OUTSIDERS)), ("major_loss", loss > MAJOR_LOSS_FEN),
    ) if holds]
    complicated = [cause for cause, holds in (
        ("loss", loss > COMPLEX_LOSS_FEN), ("complained_lately", complained_lately),
        ("departments", len(departments) > 1), ("tier", tier == HIGHEST_TIER),
    ) if holds]
    grade = "major" if major else "complex" if complicated else "ordinary"
    return Grading(grade, LEVEL_OF_GRADE[grade], (*major, *complicated), categories[0] if categories else "other")


def higher_grade(one: str | None, other: str | None) -> str:
    """The higher of two grades: by rule a grade only rises."""
    return max(one or GRADES[0], other or GRADES[0], key=GRADES.index)


def mentions(text: str, words: Iterable[str]) -> bool:
    """Whether any of the words occurs: anywhere for Chinese, as a whole word for Latin letters and digits."""
    folded = unicodedata.normalize("NFKC", text).casefold().replace("’", "'")
    folded = " ".join(folded.split())
    return any(
        re.search(rf"(?<![a-z0-9]){re.escape(word)}(?![a-z0-9])", folded) if word.isascii() else word in folded
        for word in words
    )


def loss_in(text: str) -> int | None:
    """The largest sum of money, in fen, in a text that speaks of a loss or compensation; None where there is none.

    A number counts with a currency or a Chinese multiplier (1.2万) beside it.
    """
    if not mentions(text, _LOSS_WORDS):
        return None
    found_sums = _AMOUNT.finditer(unicodedata.normalize("NFKC", text))
    sums = [
        round(float(found["number"].replace(",", "")) * _TIMES.get(found["times"] or "", 1) * 100)
        for found in found_sums if found["before"] or found["after"] or found["times"]
    ]
    return max(sums, default=None)

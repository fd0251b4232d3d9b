"""What a customer wants remembered or forgotten, read from a sentence; and how the bot speaks to whom.

Only plain statements count, in the first person or introduced by "remember": a question, a complaint and a story about
somebody else teach nothing. Nothing is kept before the customer has said yes to it: see docs/adr/0027.
"""
from __future__ import annotations

import re
from dataclasses import dataclass

FACT_KINDS = ("allergy", "diet", "like", "dislike", "delivery", "other")
TONES = ("warm", "brisk")
LONGEST = 120  # characters of a sentence that is read at all
FACT_LENGTH = 80

_END = r"\s*[。.!！~～]*\s*$"
_ASKS = re.compile(r"[?？]|吗|呢|么$|^(what|which|can|could|do|does|is|are|how)\b", re.IGNORECASE)
_ZH, _EN = r"^(?:请)?(?:记住|记一下|记得)?[，,：: ]*", r"^(?:please )?(?:remember )?(?:that )?"  # may introduce a fact
_ZH_ASKED = r"^(?:请)?(?:记住|记一下|记得)[，,：: ]*"  # must introduce it
_NOTES: tuple[tuple[str, re.Pattern[str]], ...] = tuple(
    (kind, re.compile(words + _END, re.IGNORECASE)) for kind, words in (
        ("allergy", _ZH + r"我(?:家孩子)?(?:是)?对(?P<what>.{1,30}?)(?:会)?过敏(?:的|者)?"),
        ("allergy", _EN + r"(?:i'?m|i am) (?:very |severely )?allergic to (?P<what>.{2,50}?)"),
        ("allergy", _EN + r"i have an? (?P<what>[\w -]{2,30}?) allergy"),
        ("diet", _ZH + r"我(?:是)?(?P<what>吃素|素食者|素食主义者|不吃.{1,20}?|不喝.{1,20}?)(?:的)?"),
        ("diet", _EN + r"(?:i'?m|i am) (?:a )?(?P<what>vegan|vegetarian|lactose intolerant|diabetic)"),
        ("diet", _EN + r"i (?P<what>(?:don'?t|do not|never) (?:eat|drink) .{2,40}?)"),
        ("dislike", _ZH + r"我(?:真的|特别|很|最)?(?:不喜欢|讨厌)(?P<what>.{1,30}?)"),
        ("dislike", _EN + r"i (?:really )?(?:don'?t like|dislike|hate) (?P<what>.{2,40}?)"),
        ("like", _ZH_ASKED + r"我(?:特别|很|最)?(?:喜欢|爱|只喝|只要|习惯)(?P<what>.{1,30}?)"),
        ("like", r"^(?:please )?remember (?:that )?i (?:really )?(?:like|love|prefer|only drink|only want) "
                 r"(?P<what>.{2,40}?)"),
        ("delivery", r"^(?:请)?(?:以后|记住|记一下|记得)[，,：: ]*(?P<what>.{0,10}(?:快递|包裹|送货|派送|放).{2,40}?)"),
        ("delivery", r"^(?:please )?(?:always|remember to|from now on,?) "
                     r"(?P<what>(?:leave|deliver|send|ring|call|put) .{3,50}?)"),
        ("other", r"^(?:请)?(?:你)?(?:帮我)?(?:记住|记一下|记着)[，,：: ]*(?P<what>我.{2,60}?)"),
        ("other", r"^(?:please )?(?:remember|note) that (?P<what>(?:i|my)\b.{3,60}?)"),
    ))
_FORGET = re.compile(
    r"^(?:请)?(?:你)?(?:忘记|忘掉|忘了|别记|不要记|不用记|别再记|不要再记|删掉)(?:住|着|得)?[，,：: ]*"
    r"(?:关于)?(?P<zh>.{0,40}?)(?:这件事|这事|的事|了|吧)*" + _END +
    r"|^(?:please )?(?:forget|stop remembering|don'?t remember)(?: about| that)? (?P<en>.{2,60}?)" + _END,
    re.IGNORECASE)
_LAST_FACT = re.compile(r"^(?:它|这个|那个|)$|^(?:it|this|that)$", re.IGNORECASE)
_ALL_FACTS = re.compile(
    r"^(?:这些|那些|全部|全都?|所有.*|你记(?:住|得)的.*|我(?:说|告诉你)的.*|关于我的.*|都)$"
    r"|^(?:them|everything.*|all (?:of )?(?:that|it|them|you.*)|what (?:i|you).*)$", re.IGNORECASE)
_NOT_A_FACT = re.compile(
    r"密码|訂單|订单|账号|帐号|地址|\bpassword\b|\border\b|\baccount\b|\bpin\b|^me$|^my (?:data|account)",
    re.IGNORECASE)
_POINTS_AT = re.compile(
    r"^(?:你|您|这|那|它|他|她)|^(?:it|this|that|these|those|you|your|the|him|her|them)\b|不[吃喝]这", re.IGNORECASE)
_RECALL = re.compile(
    r"^(?:你|你们)?(?:都|还)?(?:记得|记住了?|记着)(?:我|关于我)?(?:的)?(?:什么|哪些.*|啥)(?:事|东西)?"
    r"(?:吗|呢|了)?[?？]?" + _END +
    r"|^what do you (?:remember|know) about me\??" + _END +
    r"|^what (?:have you|did you) remember(?:ed)?(?: about me)?\??" + _END, re.IGNORECASE)
_BRISK = re.compile(
    r"(?:说话|回答|回复|讲|你)?.{0,4}(?:简短|简单|简洁|干脆|直接)(?:一?点|些)|别(?:那么)?(?:啰嗦|罗嗦|客套)"
    r"|少(?:说)?(?:废话|客套)|\b(?:be|keep it|answer) (?:more )?(?:brief|short|concise)\b|\bshort(?:er)? answers\b"
    r"|\bget to the point\b", re.IGNORECASE)
_WARM = re.compile(
    r"(?:说话|语气|你)?.{0,4}(?:热情|亲切|温柔|友好)(?:一?点|些)|别(?:那么)?(?:冷淡|生硬|死板)"
    r"|\b(?:be|sound) (?:more )?(?:friendly|friendlier|warm|warmer|nicer)\b", re.IGNORECASE)
_EMOJI = re.compile("[\U0001f300-\U0001faff\u2600-\u27bf\ufe0f]+ ?")
_PLEASANTRIES = re.compile(
    r"(?:还有什么(?:可以|需要|能).{0,12}[？?]|有(?:事|需要)(?:随时|再)?(?:找|叫)我。?|祝您生活愉快！?|很高兴为您服务。?)"
    r"|(?:Is there anything else I can (?:do|help).*?\?|I'm here (?:if|whenever) you need me\.|Good to see you\."
    r"|And take care!|Have a nice day!)", re.IGNORECASE)


@dataclass(frozen=True)
class Wish:
    """What a sentence asks of the bot's memory.

    ``do``: "note", "forget", "recall" or "tone". ``kind`` is the kind of a fact or the tone, ``what`` its words; of
    "forget" ``kind`` is "all", "last", or "named" with ``what`` saying which.
    """

    do: str
    kind: str = ""
    what: str = ""


def wish_in(text: str) -> Wish | None:
    """What a sentence asks of the memory, or None for one that asks nothing of it."""
    said = " ".join(text.split())
    if not 0 < len(said) <= LONGEST:
        return None
    if _RECALL.match(said):
        return Wish("recall")
    if len(said) <= 40:
        for tone, words in (("brisk", _BRISK), ("warm", _WARM)):
            if words.search(said) and not _ASKS.search(said):
                return Wish("tone", tone)
    forgotten = _FORGET.match(said)
    if forgotten:
        what = (forgotten["zh"] or forgotten["en"] or "").strip(" ，,。.")
        if _NOT_A_FACT.search(what):
            return None
        which = "all" if _ALL_FACTS.match(what) else "last" if _LAST_FACT.match(what) else "named"
        return Wish("forget", which, what[:FACT_LENGTH] if which == "named" else "")
    if _ASKS.search(said):
        return None
    for kind, words in _NOTES:
        found = words.match(said)
        if found:
            what = found["what"].strip(" ，,。.")
            vague = not what or _NOT_A_FACT.search(what) or _POINTS_AT.search(what)
            return None if vague else Wish("note", kind, what[:FACT_LENGTH])
    return None


def is_about(fact: str, what: str) -> bool:
    """Whether a sentence of forgetting names this fact: they share a telling word, or two Chinese characters."""
    mine, theirs = fact.casefold(), what.casefold()
    if mine in theirs or theirs in mine:
        return True
    words = {word for word in re.findall(r"[a-z]{4,}", theirs) if word not in _FILLERS}
    if any(word.rstrip("s") in mine for word in words):
        return True
    han = re.findall(r"[\u4e00-\u9fff]+", theirs)
    pairs = {run[at:at + 2] for run in han for at in range(len(run) - 1)} - _FILLER_PAIRS
    return any(pair in mine for pair in pairs)


_FILLERS = frozenset(("that", "about", "what", "told", "allergic", "allergy", "like", "don't", "have", "with", "your"))
_FILLER_PAIRS = frozenset(("过敏", "喜欢", "不喜", "我对", "我的", "不吃", "我不", "关于", "记住", "这个", "那个"))


def brisk(text: str) -> str:
    """An answer without its pleasantries, for who wants it short; never empty."""
    plain = _PLEASANTRIES.sub("", _EMOJI.sub("", text))
    plain = "\n".join(line.rstrip() for line in plain.splitlines() if line.strip())
    return plain.strip() or text

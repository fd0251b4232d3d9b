"""What a customer wants remembered or forgotten, read from a sentence; and how the bot speaks to whom.

Only plain statements count, in the first person or introduced by "remember": a question, a complaint and a story about
somebody else teach nothing. Nothing is kept before the customer has said yes to it: see docs/adr/0027.
"""
from __future__ import annotations

import re
from dataclasses import dataclass

FACT_KINDS = ("name", "allergy", "diet", "like", "dislike", "delivery", "other")
TONES = ("warm", "brisk")
NEVER = frozenset(("request_human", "file_complaint"))  # a message that wants one of these is not for the memory
LONGEST = 120  # characters of a sentence that is read at all
FACT_LENGTH = 80

_END = r"\s*[。.!！~～]*\s*$"
_ASKS = re.compile(
    r"[?？]|吗|呢|么$|什么|怎么|哪|几点|多久|多少|为啥|为什么|咋|谁|如何|能不能|可不可以|可以不|是不是|有没有|会不会|要不要"
    r"|^(what|which|who|when|where|why|can|could|do|does|did|is|are|will|would|how)\b", re.IGNORECASE)
_CLAUSES = re.compile(r"[，,；;。！!：:\n]|[.] |但是?|不过|所以|\b(?:but|so|because|and i|and my)\b", re.IGNORECASE)
_ZH = r"^(?:请)?(?:记住|记一下|记得)?[，,：: ]*"  # may introduce a fact
_EN = r"^(?:please )?(?:remember[:,]? )?(?:that )?"
_ZH_ASKED = r"^(?:请)?(?:记住|记一下|记得)[，,：: ]*"  # must introduce it
_BEFORE_ZH = re.compile(r"^(?:请|麻烦|拜托)?(?:你|您)?(?:帮我|帮忙)?(?:记住|记一下|记下来?|备注一下)[，,：: ]*")
_AFTER_ZH = re.compile(r"[，,。；; ]*(?:请|麻烦|拜托)?(?:你|您)?(?:帮我|帮忙)?(?:记住|记一下|记下来?|记着|备注一下)"
                       r"(?:吧|哦|啊|[，, ]*谢谢)*" + _END)
_AFTER_EN = re.compile(
    r"[,.; -]+please (?:remember|note|keep)(?: (?:it|that|this)(?: in mind)?)?" + _END +
    r"|[,.; -]+(?:please )?(?:remember|note|keep) (?:it|that|this)(?: in mind)?(?:,? please)?" + _END, re.IGNORECASE)
_CALLED = r"(?!去|来|等|先|再|不|找|办|打|给|重|自|怎|如|一|直|滚|爸|爹|爷|妈)(?P<what>[\u4e00-\u9fffA-Za-z·]{1,8}?)"
_NOTES: tuple[tuple[str, re.Pattern[str]], ...] = tuple(
    (kind, re.compile(words + _END, re.IGNORECASE)) for kind, words in (
        ("name", r"^(?:请你?|以后请?|你)就?叫我" + _CALLED + r"(?:就好|就行|就可以|吧)?"),
        ("name", r"^叫我" + _CALLED + r"(?:就好|就行|就可以|吧)"),
        ("name", r"^(?:please |just )?call me (?P<what>(?-i:[A-Z])[\w.'-]{1,20}(?: (?-i:[A-Z])[\w.'-]{1,20})?)"),
        ("allergy", _ZH_ASKED + r"对(?P<what>.{1,30}?)(?:会)?过敏(?:的)?"),
        ("allergy", _ZH + r"我(?:是)?对(?P<what>.{1,30}?)(?:会)?过敏(?:的|者)?"),
        ("allergy", _EN + r"(?:i'?m|i am) (?:very |severely )?allergic to (?P<what>.{2,50}?)"),
        ("allergy", _EN + r"i have an? (?:severe |bad )?(?!severe |bad )(?P<what>[\w -]{2,30}?) allergy"),
        ("diet", _ZH + r"我(?P<what>是素食(?:主义)?者)"),
        ("diet", _ZH + r"我(?:是)?(?P<what>吃素|不吃.{1,10}?|不喝.{1,10}?)(?:的)?"),
        ("diet", _EN + r"(?:i'?m|i am) (?:a )?(?P<what>vegan|vegetarian|lactose intolerant|diabetic)"),
        ("diet", _EN + r"i (?P<what>(?:don'?t|do not|never) (?:eat|drink) .{2,40}?)"),
        ("dislike", _ZH + r"我(?:真的|特别|很|最)?(?:不喜欢|讨厌)(?P<what>.{1,8}?)"),
        ("dislike", _EN + r"i (?:really )?(?:don'?t like|dislike|hate) (?!my |our )"
                          r"(?P<what>\S{2,20}(?: \S{2,20}){0,2}?)"),
        ("like", _ZH_ASKED + r"我(?:特别|很|最)?(?:喜欢|爱|只喝|只要|习惯)(?P<what>.{1,30}?)"),
        ("like", r"^(?:please )?remember (?:that )?i (?:really )?(?:like|love|prefer|only drink|only want) "
                 r"(?P<what>.{2,40}?)"),
        ("delivery", r"^(?:请)?(?:以后|记住|记一下|记得)(?:以后|[，,：: ])*"
                     r"(?P<what>(?=.{0,8}(?:快递|包裹|送货|派送|配送|放))"
                     r"(?=.*(?:门口|门卫|前台|驿站|快递柜|自提柜|保安|物业|邻居|代收|敲门|门铃|电话|周末|工作日"
                     r"|早上|上午|中午|下午|晚上|白天)).{4,40}?)"),
        ("delivery", r"^(?:please )?(?:always|remember to|from now on,?) "
                     r"(?P<what>(?:leave|deliver|send|ring|call|put)\b"
                     r"(?=.*\b(?:door|porch|bell|neighbou?rs?|reception|concierge|desk|gate|locker|lobby|garage|mailbox"
                     r"|weekends?|weekdays?|mornings?|afternoons?|evenings?|before you|on arrival)\b).{3,60}?)"),
        ("other", r"^(?:请)?(?:你)?(?:帮我)?(?:记住|记一下|记着)[，,：: ]*(?P<what>我.{2,60}?)"),
        ("other", r"^(?:please )?(?:remember|note) that (?P<what>(?:i|my)\b.{3,60}?)"),
    ))
_FORGET = re.compile(
    r"^(?:请)?(?:你)?(?P<verb>忘记|忘掉|忘了|(?:别|不要|不用)再?记(?:住|着|得)|删掉)[，,：: ]*"
    r"(?:关于)?(?P<zh>.{0,40}?)(?P<so>(?:这件事|这事|的事|了|吧)*)" + _END +
    r"|^(?:please )?(?:forget|stop remembering|don'?t remember (?=(?:that|this|it|what i|my|me|anything|everything)\b))"
    r"(?: ?about| ?that(?= \S))? ?(?P<en>\S.{1,60}?)" + _END,
    re.IGNORECASE)
_LAST_FACT = re.compile(r"^(?:它|这个|那个|这条|那条|)$|^(?:it|this|that)$", re.IGNORECASE)
_ALL_FACTS = re.compile(
    r"^(?:这些|那些|全部|全都?|所有(?:的事?)?|你记(?:住|得)的.*|我(?:说|告诉你)的(?:话|事|一切|全部|都)?|关于我的.*|都)$"
    r"|^(?:them|everything.*|all (?:of )?(?:that|it|them|you.*)|what (?:i|you).*)$", re.IGNORECASE)
_OF_ONESELF = re.compile(  # "忘了……" is mostly "I forgot …": what a customer may have told of themselves tells it apart
    r"^我.{0,3}(?:对.+过敏|吃|喝|不|喜欢|讨厌|爱|只|习惯|说的)|^你记(?:住|得)的")
_NOT_A_FACT = re.compile(  # the shop's business, and what it holds anyway
    r"密码|訂單|订单|账|帐|地址|数据|信息|资料|记录|手机号|电话号|邮箱|号码|会员|评论|评价|积分|发票|优惠|券|码|单号"
    r"|退[货款换]|[退换]了?$|换货|换[个成一]|赔|投诉|举报|曝光|起诉|你们|您们|我们|客服|机器人|人工|态度|服务|广告|推销|营销|短信"
    r"|上次|买|收到|下单|发货|付款|顺丰|通知|告诉|放假|放心|放弃|鸽子|加钱|再破|还没|没有|亏|一套|催|最后|说的话|包装|面料|颜色$|尺码|价格|质量|骗|预售|流程|过期"
    r"|^(?:等|被|跟|想|要)|了$|了给|排队|\d{6}"
    r"|\b(?:passwords?|orders?|ordered|accounts?|pin|codes?|data|information|info|details|history|records?|e-?mails?"
    r"|phone|number|address|card|coupons?|vouchers?|receipts?|invoices?|refunds?|returns?|exchange|points|profile|cart"
    r"|parcel is|packages?|delivery|shipping|app|website|service|staff|agents?|(?:chat)?bots?|robots?|spam|ads"
    r"|marketing|complain\w*|waiting|waited|late|wrong|missing|paid|bought|received|sent|want|need|will|would|not"
    r"|being|when|how|which|talking|something|messages?|questions?|asked|misspel\w*|out of date|promises)\b"
    r"|^me$|^my (?:new|old)\b",
    re.IGNORECASE)
_POINTS_AT = re.compile(
    r"^(?:你|您|这|那|它|他|她)|不[吃喝](?:这|那|你|您|它)"
    r"|^(?:never (?:eat|drink) |do(?:n'?t| not) (?:eat|drink) )?"
    r"(?:it|this|that|these|those|you|your|the|him|her|them)\b", re.IGNORECASE)
_RECALL = re.compile(
    r"^(?:你|你们)?(?:都|还)?(?:记得|记住了?|记着)(?:我|关于我)?(?:的)?(?:什么|哪些|啥)(?:事|东西)?"
    r"(?:吗|呢|了)?[?？]?" + _END +
    r"|^what do you (?:remember|know) about me\??" + _END +
    r"|^what (?:have you|did you) remember(?:ed)?(?: about me)?\??" + _END, re.IGNORECASE)
_SPEAK_ZH = r"^(?:请|麻烦)?(?:你|您)?(?:以后)?(?:说话|讲话|说|讲|回答|回复|语气)?(?:得|的)?(?:再|更|稍微|尽量)?"
_SPEAK_EN = r"^(?:please )?(?:be|sound|answer) (?:a (?:bit|little) )?(?:more )?"
_SPEAK_END = r"(?:吧|就好|就行|好吗|好不好|行吗)?(?: please)?[?？]?" + _END
_BRISK = re.compile(
    _SPEAK_ZH + r"(?:简短|简单|简洁|干脆|直接)(?:一?点|一?些)儿?" + _SPEAK_END +
    r"|^(?:请|麻烦)?(?:你|您)?(?:别|不要)(?:那么|这么|再)?(?:啰嗦|罗嗦|客套)了?" + _SPEAK_END +
    r"|^(?:请|麻烦)?(?:你|您)?少(?:说|点)?(?:废话|客套)话?" + _SPEAK_END +
    "|" + _SPEAK_EN + r"(?:brief|briefer|short|shorter|concise)" + _SPEAK_END +
    r"|^(?:please )?keep it (?:brief|short)" + _SPEAK_END +
    r"|^(?:please )?(?:give me )?(?:short|shorter|brief) answers" + _SPEAK_END +
    r"|^(?:please )?(?:just )?get to the point" + _SPEAK_END, re.IGNORECASE)
_WARM = re.compile(
    _SPEAK_ZH + r"(?:热情|亲切|温柔|友好)(?:一?点|一?些)儿?" + _SPEAK_END +
    r"|^(?:请|麻烦)?(?:你|您)?(?:别|不要)(?:那么|这么|再)?(?:冷淡|生硬|死板)了?" + _SPEAK_END +
    "|" + _SPEAK_EN + r"(?:friendly|friendlier|warm|warmer|nicer)" + _SPEAK_END, re.IGNORECASE)
_EMOJI = re.compile("(?P<end>[。.!！?？~，,]?) *[\U0001f300-\U0001faff\u2600-\u27bf\ufe0f]+(?P<more> *(?=\\S))?")
_PLEASANTRIES = re.compile(  # whole sentences: what begins in the middle of one is left where it is
    r"(?:^|(?<=[。.!！?？])|(?<=[。.!！?？] ))"
    r"(?:还有什么(?:可以|需要|能).{0,12}[？?]|有(?:事|需要)(?:随时|再)?(?:找|叫)我。|祝您生活愉快！|很高兴为您服务。"
    r"|Is there anything else I can (?:do|help)[^?]{0,40}\?|I'm here (?:if|whenever) you need me\.|Good to see you\."
    r"|Have a nice day!)(?: |$)?", re.IGNORECASE | re.MULTILINE)


@dataclass(frozen=True)
class Wish:
    """What a sentence asks of the bot's memory.

    ``do``: "note", "forget", "recall" or "tone". ``kind`` is the kind of a fact or the tone, ``what`` its words; of
    "forget" ``kind`` is "all", "last", or "named" with ``what`` saying which.
    """

    do: str
    kind: str = ""
    what: str = ""


LAST = Wish("forget", "last")


def wish_in(text: str) -> Wish | None:
    """What a sentence asks of the memory, or None for one that asks nothing of it."""
    said = " ".join(text.split())
    if not 0 < len(said) <= LONGEST:
        return None
    if _RECALL.match(said):
        return Wish("recall")
    for tone, words in (("brisk", _BRISK), ("warm", _WARM)):
        if words.match(said):
            return Wish("tone", tone)
    if _ASKS.search(said):
        return None
    forgotten = _FORGET.match(said)
    if forgotten:
        return _forgetting(forgotten)
    said = _with_the_asking_first(said)
    for kind, words in _NOTES:
        found = words.match(said)
        if found:
            what = found["what"].strip(" ，,。.")
            return Wish("note", kind, what[:FACT_LENGTH]) if _is_clear(what) else None
    return None


def answers_no_question(text: str, intent: str | None) -> bool:
    """Whether a sentence is for the memory alone, to tell, to forget or to speak otherwise, whatever was just asked.

    A fact may be an answer, and "forget it" a way to say no.
    """
    wish = wish_in(text)
    return wish is not None and wish.do != "note" and wish != LAST and intent not in NEVER


def tells_a_name(text: str) -> bool:
    """Whether a sentence says what to call the customer, which only sounds like a wish for a call."""
    wish = wish_in(text)
    return wish is not None and (wish.do, wish.kind) == ("note", "name")


def _with_the_asking_first(said: str) -> str:
    """The sentence with "please remember" in the place and the words where the patterns look for it."""
    for asked, first in ((_BEFORE_ZH, "记住"), (_AFTER_ZH, "记住"), (_AFTER_EN, "remember ")):
        rest = asked.sub("", said, count=1)
        if rest and rest != said:
            return first + rest
    return said


def _forgetting(found: re.Match[str]) -> Wish | None:
    what = (found["zh"] or found["en"] or "").strip(" ，,。.")
    if _LAST_FACT.match(what):
        i_forgot = not what and found["verb"] in ("忘记", "忘了") and found["so"] in ("", "了")
        return None if i_forgot else Wish("forget", "last")
    if _CLAUSES.search(what) or _NOT_A_FACT.search(what):
        return None
    if _ALL_FACTS.match(what) and not (found["verb"] == "删掉" and "记" not in what):
        return Wish("forget", "all")
    meant = found["verb"] in (None, "忘掉") or found["so"].endswith("事") or _OF_ONESELF.match(what)
    return Wish("forget", "named", what[:FACT_LENGTH]) if meant and _is_clear(what) else None


def _is_clear(what: str) -> bool:
    """Whether words name a thing by itself, in one clause, and none of the shop's business."""
    return bool(what) and not any(words.search(what) for words in (_CLAUSES, _NOT_A_FACT, _POINTS_AT))


def is_about(fact: str, what: str) -> bool:
    """Whether a sentence of forgetting names this fact: they share a telling word, or two Chinese characters."""
    mine, theirs = fact.casefold(), what.casefold()
    if _han(mine) and (mine in theirs or theirs in mine):
        return True
    words = {word.rstrip("s") for word in _latin(theirs) if word not in _FILLERS}
    if words & {word.rstrip("s") for word in _latin(mine)}:
        return True
    pairs = {run[at:at + 2] for run in _han(theirs) for at in range(len(run) - 1)} - _FILLER_PAIRS
    return any(pair in mine for pair in pairs)


def _han(text: str) -> list[str]:
    return re.findall(r"[\u4e00-\u9fff]+", text)


def _latin(text: str) -> list[str]:
    return re.findall(r"[^\W\d_\u4e00-\u9fff]{3,}", text)


_FILLERS = frozenset((
    "that", "this", "about", "what", "told", "allergic", "allergy", "like", "love", "hate", "prefer", "don", "not",
    "never", "eat", "drink", "have", "with", "your", "the", "and", "for", "only", "want", "very"))
_FILLER_PAIRS = frozenset((
    "过敏", "喜欢", "不喜", "我对", "我的", "不吃", "不喝", "我不", "关于", "记住", "这个", "那个"))


def _without_emoji(found: re.Match[str]) -> str:
    """What stands before the emoji; an emoji between two sentences parted them, which a stop then does."""
    if found["more"] is None:
        return found["end"]
    before = found.string[:found.start("end")]
    if found["end"] or not before.strip():
        return found["end"] + found["more"]
    return "。" if "\u4e00" <= before[-1] <= "\u9fff" else ". "


def brisk(text: str) -> str:
    """An answer without its pleasantries, for who wants it short; never empty."""
    plain = _PLEASANTRIES.sub("", _EMOJI.sub(_without_emoji, text))
    plain = "\n".join(line.rstrip() for line in plain.splitlines() if line.strip())
    return plain.strip() or text

"""What mails to agents say, in both languages."""
from __future__ import annotations

from typing import Any

from crm_store.services.deliveries import Outgoing

NOTICES: dict[str, dict[str, str]] = {
    "assigned": {"zh": "会话已分配给您{ticket}", "en": "A conversation was assigned to you{ticket}"},
    "complaint": {"zh": "投诉已分配给您{ticket}", "en": "A complaint was assigned to you{ticket}"},
    "transferred": {"zh": "{by} 把会话转给了您{ticket}", "en": "{by} transferred a conversation to you{ticket}"},
    "transferred_away": {"zh": "{by} 把您的会话转给了别人{ticket}",
                         "en": "{by} transferred one of your conversations{ticket}"},
    "taken_over": {"zh": "{by} 接管了您的会话{ticket}", "en": "{by} took over one of your conversations{ticket}"},
    "nobody_free": {"zh": "没有空闲的客服{ticket}", "en": "Nobody is free{ticket}"},
    "grade_raised": {"zh": "投诉已升级{ticket}", "en": "A complaint was graded higher{ticket}"},
    "low_rating": {"zh": "客户给了低分，已重新打开{ticket}", "en": "Low rating, reopened{ticket}"},
    "sla_warned": {"zh": "{promise}已用 {percent}%{ticket}", "en": "{promise}: {percent} % of the time used{ticket}"},
    "sla_breached": {"zh": "{promise}超时{ticket}", "en": "{promise} is late{ticket}"},
    "woken": {"zh": "等待结束，请继续处理{ticket}", "en": "The wait is over; please carry on{ticket}"},
    "test": {"zh": "测试：邮件通知可以送达", "en": "Test: notices by e-mail arrive"},
}
OTHER = {"zh": "工作台有新通知{ticket}", "en": "There is something new at the desk{ticket}"}
PROMISES: dict[str, dict[str, str]] = {
    "first_response": {"zh": "首次响应", "en": "First response"},
    "next_response": {"zh": "再次响应", "en": "Next response"},
    "resolution": {"zh": "解决", "en": "Resolution"},
    "follow_up": {"zh": "回访", "en": "Follow-up"},
}
WORDS: dict[str, dict[str, str]] = {
    "product": {"zh": "暖线", "en": "Warmline"},
    "ticket": {"zh": "（工单 {number}）", "en": " (ticket {number})"},
    "promise": {"zh": "时限", "en": "A promise"},
    "colleague": {"zh": "同事", "en": "A colleague"},
    "hello": {"zh": "{name}，您好：", "en": "Hello {name},"},
    "open": {"zh": "打开工作台：{url}", "en": "Open the desk: {url}"},
    "why": {"zh": "您在这里选择了哪些通知发到邮箱：{url}", "en": "You chose here what is sent to you by e-mail: {url}"},
}


def say_word(key: str, language: str, **values: Any) -> str:
    """One of the words of mails in "zh" or "en"."""
    return WORDS[key][language].format(**values)


def say_notice(delivery: Outgoing, language: str) -> str:
    """What happened, in one line."""
    data = delivery.data
    promise = PROMISES.get(str(data.get("promise")), WORDS["promise"])
    return NOTICES.get(delivery.kind, OTHER)[language].format(
        ticket=say_word("ticket", language, number=delivery.ticket) if delivery.ticket else "",
        by=data.get("by") or say_word("colleague", language), promise=promise[language],
        percent=data.get("percent") or "")

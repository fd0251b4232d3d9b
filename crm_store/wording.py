"""The sentences that services themselves say to customers and agents, in both languages."""
from __future__ import annotations

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

SENTENCES: dict[str, dict[str, str]] = {
    "copy_title": {"zh": "您的个人信息副本", "en": "A copy of your personal data"},
    "copy_ready": {
        "zh": "文件里有姓名、地址和聊天记录，请在自己的设备上下载。按下按钮后，这个链接就失效。",
        "en": "The file holds names, addresses and messages: download it on a device of your own. "
              "The link ends when you press the button.",
    },
    "copy_fetch": {"zh": "下载", "en": "Download"},
    "copy_refused": {
        "zh": "这个链接已经用过、过期，或者不是给您的。需要的话，请在聊天里再要一份。",
        "en": "This link was used, has expired, or is not yours. Ask for another copy in the chat if you need one.",
    },
    "copy_about": {
        "zh": "这里是我们保存的关于您的全部信息。金额以分为单位，时间为世界协调时（UTC）。"
              "data.json 内容相同，供程序读取；附件在 attachments 文件夹里。",
        "en": "This is everything we hold about you. Amounts are in fen (1/100 yuan), times in UTC. "
              "data.json says the same to programs; attachments are in the folder attachments.",
    },
    "coming_by": {
        "zh": "正在为您转接人工客服，{by}前会有同事联系您。您的工单号是 {number}。",
        "en": "I am handing you over to a colleague, who will be with you by {by}. Your ticket number is {number}.",
    },
    "coming_soon": {
        "zh": "正在为您转接人工客服，同事会尽快联系您。您的工单号是 {number}。",
        "en": "I am handing you over to a colleague, who will be with you as soon as possible. "
              "Your ticket number is {number}.",
    },
    "coming_after_opening": {
        "zh": "现在是非工作时间，人工客服{opens}上班，{by}前会有同事联系您。您的工单号是 {number}。",
        "en": "Our desk is closed now and opens at {opens}. A colleague will be with you by {by}. "
              "Your ticket number is {number}.",
    },
    "sorry_angry": {
        "zh": "非常抱歉给您带来这么糟糕的体验，您的心情我们完全理解。",
        "en": "I am very sorry about this. You have every reason to be upset.",
    },
    "sorry_major": {
        "zh": "非常抱歉，您反映的情况很严重，我们会马上安排专人处理。",
        "en": "I am very sorry. This is serious, and a senior colleague will take care of it right away.",
    },
    "sorry_stuck": {
        "zh": "抱歉，我没能帮上您的忙。",
        "en": "I am sorry that I could not help you with this.",
    },
    "sorry_system": {
        "zh": "抱歉，我们的系统出了点问题，没能处理您的消息。",
        "en": "I am sorry, something went wrong on our side and your message could not be answered.",
    },
    "empathy": {
        "zh": "很抱歉让您不愉快了，我理解您的心情。",
        "en": "I am sorry for the trouble, and I understand how frustrating this is.",
    },
    "talk_to_person": {"zh": "转人工客服", "en": "Talk to a person"},
    "rate_question": {
        "zh": "您的问题已处理完毕。请为这次服务打分：",
        "en": "Your request has been resolved. How would you rate our service this time?",
    },
    "rate_5": {"zh": "5 · 非常满意", "en": "5 · Excellent"},
    "rate_4": {"zh": "4 · 满意", "en": "4 · Good"},
    "rate_3": {"zh": "3 · 一般", "en": "3 · Okay"},
    "rate_2": {"zh": "2 · 不满意", "en": "2 · Poor"},
    "rate_1": {"zh": "1 · 很不满意", "en": "1 · Very poor"},
    "rate_thanks": {"zh": "感谢您的评价！", "en": "Thank you for your rating!"},
    "rate_low_by": {
        "zh": "很抱歉没能让您满意。我们的主管会重新跟进，{by}前联系您。您的工单号是 {number}。",
        "en": "I am sorry that we did not meet your expectations. Our team lead will look into it and be with you by "
              "{by}. Your ticket number is {number}.",
    },
    "rate_low": {
        "zh": "很抱歉没能让您满意。我们的主管会重新跟进并尽快联系您。您的工单号是 {number}。",
        "en": "I am sorry that we did not meet your expectations. Our team lead will look into it and be with you as "
              "soon as possible. Your ticket number is {number}.",
    },
    "handed_back": {
        "zh": "接下来由智能助手继续为您服务，需要人工客服请随时告诉我。",
        "en": "Our assistant is here for you again. Just say so if you would like to talk to a person.",
    },
    "complaint_taken_up": {
        "zh": "您的投诉 {number} 已由 {name} 受理。",
        "en": "{name} has taken up your complaint {number}.",
    },
    "complaint_proposal": {
        "zh": "您的投诉 {number} 已有处理方案，请查看 {name} 发来的消息。",
        "en": "There is a proposal for your complaint {number}; please see {name}'s message.",
    },
    "complaint_resolved": {
        "zh": "您的投诉 {number} 已处理完毕。",
        "en": "Your complaint {number} has been resolved.",
    },
    "recommend_question": {
        "zh": "最后一个问题：您有多大可能把我们推荐给朋友？0 是完全不会，10 是一定会。",
        "en": "One last question: how likely are you to recommend us to a friend? 0 is not at all, 10 is for sure.",
    },
    "recommend_thanks": {"zh": "谢谢您告诉我们！", "en": "Thank you for telling us!"},
    "feedback_planned": {
        "zh": "您之前的建议「{said}」我们采纳了，已列入计划。",
        "en": "You suggested: “{said}” We like it, and it is planned.",
    },
    "feedback_done": {
        "zh": "您之前的建议「{said}」已经实现了，谢谢您！",
        "en": "You suggested: “{said}” It is done. Thank you!",
    },
    "feedback_declined": {
        "zh": "关于您之前的建议「{said}」，我们认真考虑过，暂时不会做，谢谢您的想法。",
        "en": "You suggested: “{said}” We gave it thought and will not do it for now. Thank you for the idea.",
    },
    "points_granted": {
        "zh": "为表歉意，我们为您补偿 {points} 积分（工单 {number}），已经到账。您现在有 {balance} 积分。",
        "en": "To make good for this we have added {points} points to your account (ticket {number}). You have "
              "{balance} points now.",
    },
    "order_returned": {
        "zh": "订单 {order} 的退货已经收到，{money} 元将原路退回。{after}",
        "en": "Your return of order {order} has arrived, and ¥{money} goes back the way it was paid. {after}",
    },
    "order_refunded": {
        "zh": "订单 {order} 已部分退款，共 {money} 元，将原路退回。{after}",
        "en": "A part of order {order} is refunded: ¥{money} in all goes back the way it was paid. {after}",
    },
    "points_taken_back": {
        "zh": "这笔订单获得的 {points} 积分相应收回，您现在有 {balance} 积分。",
        "en": "The {points} points earned with it are taken back; you have {balance} points now.",
    },
    "code_used": {
        "zh": "兑换码 {code}（{reward}）已经为您使用。",
        "en": "Your code {code} ({reward}) has been used for you.",
    },
    "code_cancelled": {
        "zh": "兑换码 {code}（{reward}）已经取消，积分已退回。您现在有 {balance} 积分。",
        "en": "Your code {code} ({reward}) is cancelled and its points are back. You have {balance} points now.",
    },
    "unlinked_at_wish": {
        "zh": "已解除绑定：在这里不会再看到您的订单、积分和资料。",
        "en": "Done: this chat is no longer linked to your account, and shows none of its orders, points or details.",
    },
    "late_first_response": {
        "zh": "抱歉，我们没能在约定的{due}前联系您（工单 {number}）。",
        "en": "I am sorry: we did not get back to you by {due} as promised (ticket {number}).",
    },
    "late_resolution": {
        "zh": "抱歉，我们没能在约定的{due}前解决您的问题（工单 {number}）。",
        "en": "I am sorry: we did not solve this by {due} as promised (ticket {number}).",
    },
    "raised_to_front_line": {"zh": "我们正在催办。", "en": "We are chasing it up."},
    "raised_to_experts": {"zh": "工单已升级到我们的专家组。", "en": "Our expert team has it now."},
    "raised_to_management": {"zh": "工单已升级到我们的管理层。", "en": "Our management has it now."},
    "next_by": {"zh": "最迟{by}前给您解决。", "en": "It is to be solved by {by} at the latest."},
    "next_soon": {"zh": "同事会尽快联系您。", "en": "A colleague will be in touch as soon as possible."},
    "note_handover": {"zh": "转人工：{reason}。\n{summary}", "en": "Handed over: {reason}.\n{summary}"},
    "note_take_over": {"zh": "{name} 接管了对话。", "en": "{name} took over the conversation."},
    "note_transfer": {"zh": "{name} 转给 {to}。", "en": "{name} passed this on to {to}."},
    "note_transfer_waits": {"zh": "{name} 转给 {to}，等待认领。",
                            "en": "{name} passed this on to {to}; nobody has it yet."},
    "note_grade": {"zh": "投诉 {number} 等级：{before} → {after}。", "en": "Complaint {number}: {before} → {after}."},
    "grade_ordinary": {"zh": "普通", "en": "ordinary"},
    "grade_complex": {"zh": "复杂", "en": "complex"},
    "grade_major": {"zh": "重大", "en": "major"},
    "note_low_rating": {"zh": "客户评分 {score}，重新打开。", "en": "Rated {score} by the customer; reopened."},
    "reason_asked": {"zh": "客户要求人工", "en": "the customer asked for a person"},
    "reason_anger": {"zh": "客户情绪激动", "en": "the customer is angry"},
    "reason_major_complaint": {"zh": "重大投诉", "en": "major complaint"},
    "reason_stuck": {"zh": "机器人没能解决", "en": "the bot got stuck"},
    "reason_system": {"zh": "系统故障", "en": "a system failure"},
    "note_unreachable": {"zh": "客户停用或取关了我们，消息送不到他们那里；他们再次发来消息后恢复。",
                         "en": "The customer has blocked or left us: nothing reaches them until they write again."},
    "note_undelivered": {"zh": "消息没有送达：{reason}。「{text}」", "en": "Not delivered: {reason}. “{text}”"},
    "undelivered_unknown": {"zh": "两次都没有收到渠道的确认，客户可能已经看到",
                            "en": "the channel confirmed neither of two attempts; the customer may have seen it"},
    "undelivered_too_late": {"zh": "一天之内没能发出", "en": "it could not be sent within a day"},
    "undelivered_refused": {"zh": "渠道拒收", "en": "the channel refused it"},
    "undelivered_no_answer": {"zh": "渠道连接不上", "en": "the channel could not be reached"},
    "undelivered_server_error": {"zh": "渠道的服务器出错", "en": "the channel's server failed"},
    "undelivered_token_refused": {"zh": "渠道不接受机器人的令牌", "en": "the channel does not accept the bot's token"},
    "undelivered_not_set_up": {"zh": "这个机器人没有设置", "en": "this bot is not set up"},
    "undelivered_window_over": {"zh": "客户超过 48 小时没有来信，渠道不再允许回复；客户再次来信后可以重发",
                                "en": "the customer has not written for 48 hours, after which the channel takes no "
                                      "answer; it can be sent again once they write"},
    "undelivered_too_many": {"zh": "客户上次来信后的回复条数已用完；客户再次来信后可以重发",
                             "en": "the channel takes no more answers until the customer writes again"},
    "undelivered_other": {"zh": "出现意外错误", "en": "something unforeseen went wrong"},
    "slow_down": {
        "zh": "您的消息来得有点快，我还没来得及读。请稍等片刻，我会一起看完再回复您。",
        "en": "Your messages come faster than I can read. Give me a moment, and I will read them all and answer.",
    },
    "blocked": {
        "zh": "您暂时无法在这里联系我们，您的消息不会被回复。",
        "en": "You cannot reach us here for the time being, and your messages will not be answered.",
    },
    "note_blocked": {"zh": "{name} 屏蔽了这位客户：{reason}", "en": "{name} blocked this customer: {reason}"},
    "note_unblocked": {"zh": "{name} 解除了屏蔽。", "en": "{name} lifted the block."},
    "note_edited": {"zh": "客户修改了消息，原文：「{text}」", "en": "The customer edited a message. It said: “{text}”"},
    "anger_of": {"zh": "（愤怒值 {anger:.2f}）", "en": " (anger {anger:.2f})"},
}
SORRY = {"anger": "sorry_angry", "major_complaint": "sorry_major", "stuck": "sorry_stuck", "system": "sorry_system"}
_MONTHS = ("January", "February", "March", "April", "May", "June", "July", "August", "September", "October",
           "November", "December")


def say(sentence: str, language: str, **values: Any) -> str:
    """A sentence in "zh" or "en" (anything else reads as "en") with its values filled in.

    Times come with a space on each side in Chinese; after a full-width comma there is none.
    """
    return SENTENCES[sentence]["zh" if language == "zh" else "en"].format(**values).replace("， ", "，")


def tell_time(at: datetime, now: datetime, time_zone: str, language: str) -> str:
    """A time as people say it in ``time_zone``: the hour where it is today, with the day before it otherwise.

    Where there is no such zone the time is told in UTC, and says so.
    """
    try:
        zone, suffix = ZoneInfo(time_zone), ""
    except (ZoneInfoNotFoundError, ValueError, TypeError):
        zone, suffix = ZoneInfo("UTC"), " UTC"
    local, today = at.astimezone(zone), now.astimezone(zone).date()
    hour = f"{local:%H:%M}{suffix}"
    if local.date() == today:
        return f" {hour} " if language == "zh" else hour
    if language == "zh":
        return f" {local.month}月{local.day}日 {hour} "
    return f"{hour} on {local.day} {_MONTHS[local.month - 1]}"


def join_sentences(language: str, *sentences: str) -> str:
    """Sentences one after the other, with a space between where the language has one."""
    return ("" if language == "zh" else " ").join(sentence for sentence in sentences if sentence)

"""What the Telegram channel itself says to people, in both languages."""
from __future__ import annotations

from typing import Any

from gateway import attachment_words

WORDS: dict[str, dict[str, str]] = {
    "welcome": {
        "zh": "您好，这里是{shop}。请直接打字告诉我您的问题：查订单、退换货、会员积分，或者投诉。\n\n"
              "/human 转人工客服\n/language 切换语言\n/help 使用帮助",
        "en": "Hello, this is {shop}. Just write what you need: an order, a return, your points, or a complaint.\n\n"
              "/human Talk to a person\n/language Choose the language\n/help What I can do",
    },
    "help": {
        "zh": "我能读文字和按钮：查订单和物流、办理退换货、查会员积分、受理投诉。需要人工客服时发送 /human。\n\n"
              "/human 转人工客服\n/language 切换语言",
        "en": "I read text and buttons: orders and parcels, returns, membership points, complaints. Send /human "
              "whenever you would like to talk to a person.\n\n/human Talk to a person\n/language Choose the language",
    },
    "linked": {"zh": "{name}，您的账号已关联到这里，现在可以直接查订单和积分。",
               "en": "{name}, your account is linked here. You can ask for your orders and points now."},
    "link_refused": {"zh": "这个链接已失效或已用过，请从店铺重新打开一个。",
                     "en": "This link is no longer valid or has been used. Please open a new one from the shop."},
    "choose_language": {"zh": "请选择语言：", "en": "Please choose a language:"},
    "language_chosen": {"zh": "好的，我们用中文。", "en": "All right, English it is."},
    "with_a_person": {"zh": "同事已经在为您服务了，请直接留言。",
                      "en": "A colleague has this already. Just write here."},
    "not_readable": {
        "zh": "收到了您发来的{kind}，客服同事可以查看。我自己只能读文字、附言和按钮，请用文字告诉我；"
              "需要人工客服请发送 /human。",
        "en": "Your {kind} has arrived and my colleagues can look at it. I myself read text, captions and buttons "
              "only: please tell me in words, or send /human to talk to a person.",
    },
    "cut": {
        "zh": "您的消息很长，我只读到了前 {limit} 个字，其余请再发一条。",
        "en": "Your message is very long: I have read its first {limit} characters. Please send the rest once more.",
    },
    "button_gone": {"zh": "这个按钮已经失效了，请直接打字。",
                    "en": "This button is no longer valid. Please write instead."},
    "no_groups": {
        "zh": "我只在私聊里提供服务，请直接给我发消息。",
        "en": "I serve customers in private chats only. Please write to me directly.",
    },
    "note_unknown": {"zh": "客户发来了 Warmline 还不认识的内容，请客户用文字或图片再发一次。",
                     "en": "The customer sent something that Warmline does not know. Ask them for words or a photo."},
    "command_start": {"zh": "开始", "en": "Start"},
    "command_help": {"zh": "使用帮助", "en": "What I can do"},
    "command_human": {"zh": "转人工客服", "en": "Talk to a person"},
    "command_language": {"zh": "切换语言", "en": "Choose the language"},
    **attachment_words.WORDS,
}
LANGUAGE_BUTTONS = (("中文", "zh"), ("English", "en"))


def words(key: str, language: str, **values: Any) -> str:
    """A sentence in "zh" or "en"; anything else reads as "en"."""
    return WORDS[key]["zh" if language == "zh" else "en"].format(**values)

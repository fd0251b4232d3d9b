"""What the Telegram channel itself says to people, in both languages."""
from __future__ import annotations

from typing import Any

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
    "choose_language": {"zh": "请选择语言：", "en": "Please choose a language:"},
    "language_chosen": {"zh": "好的，我们用中文。", "en": "All right, English it is."},
    "with_a_person": {"zh": "同事已经在为您服务了，请直接留言。",
                      "en": "A colleague has this already. Just write here."},
    "not_readable": {
        "zh": "收到了您发来的{kind}，不过我目前只能读文字和按钮。请用文字告诉我；需要人工客服请发送 /human。",
        "en": "Your {kind} has arrived, but for now I can read text and buttons only. Please tell me in words, or send "
              "/human to talk to a person.",
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
    "attachment": {"zh": "[{kind}]", "en": "[{kind}]"},
    "note_attachment": {"zh": "客户还发来了{kind}，附言：{caption}",
                        "en": "The customer also sent a {kind}, with the words: {caption}"},
    "kind_photo": {"zh": "图片", "en": "photo"},
    "kind_document": {"zh": "文件", "en": "file"},
    "kind_voice": {"zh": "语音", "en": "voice message"},
    "kind_audio": {"zh": "音频", "en": "audio file"},
    "kind_video": {"zh": "视频", "en": "video"},
    "kind_animation": {"zh": "动图", "en": "animation"},
    "kind_sticker": {"zh": "贴纸", "en": "sticker"},
    "kind_location": {"zh": "位置", "en": "location"},
    "kind_contact": {"zh": "联系人", "en": "contact"},
    "kind_other": {"zh": "内容", "en": "message"},
    "command_start": {"zh": "开始", "en": "Start"},
    "command_help": {"zh": "使用帮助", "en": "What I can do"},
    "command_human": {"zh": "转人工客服", "en": "Talk to a person"},
    "command_language": {"zh": "切换语言", "en": "Choose the language"},
}
LANGUAGE_BUTTONS = (("中文", "zh"), ("English", "en"))


def words(key: str, language: str, **values: Any) -> str:
    """A sentence in "zh" or "en"; anything else reads as "en"."""
    return WORDS[key]["zh" if language == "zh" else "en"].format(**values)

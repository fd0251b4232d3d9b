"""What the WeChat channel itself says to people, in both languages."""
from __future__ import annotations

from typing import Any

from gateway.attachment_words import WORDS as OF_ATTACHMENTS

WORDS: dict[str, dict[str, str]] = {
    **OF_ATTACHMENTS,
    "welcome": {
        "zh": "您好，这里是{shop}。请直接打字告诉我您的问题：查订单、退换货、会员积分，或者投诉。"
              "需要人工客服时，说“转人工”就行。",
        "en": "Hello, this is {shop}. Just write what you need: an order, a return, your points, or a complaint. Say "
              "“talk to a person” whenever you would like one.",
    },
    "followed": {"zh": "[关注了公众号]", "en": "[followed the account]"},
    "scanned": {"zh": "[扫描了二维码]", "en": "[scanned a code]"},
    "cut": {
        "zh": "您的消息很长，我只读到了前 {limit} 个字，其余请再发一条。",
        "en": "Your message is very long: I have read its first {limit} characters. Please send the rest once more.",
    },
    "choose_one": {"zh": "请选择：", "en": "Please choose:"},
    "detail": {"zh": "[{kind}] {detail}", "en": "[{kind}] {detail}"},
    "note_voice": {"zh": "这句话是客户用语音说的，文字由微信识别。",
                   "en": "The customer said this by voice; the words are WeChat's own recognition."},
    "note_unknown": {"zh": "客户发来了 Warmline 还不认识的内容，请客户用文字或图片再发一次。",
                     "en": "The customer sent something that Warmline does not know. Ask them for words or a photo."},
    "kind_link": {"zh": "链接", "en": "link"},
}


def words(key: str, language: str, **values: Any) -> str:
    """A sentence in "zh" or "en"; anything else reads as "en"."""
    return WORDS[key]["zh" if language == "zh" else "en"].format(**values)

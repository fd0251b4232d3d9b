"""What customers read about what they sent besides words, in both languages."""
from __future__ import annotations

WORDS: dict[str, dict[str, str]] = {
    "attachment": {"zh": "[{kind}]", "en": "[{kind}]"},
    "kept_unread": {
        "zh": "收到了您发来的{kind}，客服同事可以查看。我自己只能读文字和附言，请用文字告诉我；"
              "需要人工客服请直接说“转人工”。",
        "en": "Your {kind} has arrived and my colleagues can look at it. I myself read text and captions only: please "
              "tell me in words, or say that you would like to talk to a person.",
    },
    "too_large": {
        "zh": "您发来的{kind}太大，没能保存：最多 {limit} MB。请缩小后再发，或者用文字告诉我。",
        "en": "Your {kind} is too large to be kept: {limit} MB at most. Please send a smaller one, or tell me in "
              "words.",
    },
    "not_kept": {
        "zh": "抱歉，您刚才发来的{kind}没能保存，客服同事看不到。请换成图片或 PDF 再发一次，或者用文字告诉我。",
        "en": "Sorry, the {kind} you sent could not be kept, so my colleagues cannot see it. Please send it again as a "
              "picture or a PDF, or tell me in words.",
    },
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
}

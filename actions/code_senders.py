"""Sends one-time codes to customers: an adapter, because every shop has its own way."""
from __future__ import annotations

import logging
from pathlib import Path
from typing import Protocol

logger = logging.getLogger(__name__)

TEXTS = {
    "zh": "【暖线】您的验证码是 {code}，10 分钟内有效。请勿告诉他人。",
    "en": "Warmline: your code is {code}. It is valid for 10 minutes. Do not share it.",
}


class CodeSender(Protocol):
    """Brings a code to a phone. It may raise: the customer then gets a person instead of waiting for nothing."""

    def send(self, phone: str, code: str, language: str) -> None:
        """Send ``code`` to ``phone``, worded in "zh" or "en"."""
        ...


class OutboxSender:
    """The demo's sender: writes the message to a file instead of a phone. The log says only that one was sent."""

    def __init__(self, path: Path) -> None:
        """Write to ``path``; its folder is made when the first code is sent."""
        self.path = path

    def send(self, phone: str, code: str, language: str) -> None:
        """Append one line: phone, tab, text."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", encoding="utf-8") as outbox:
            outbox.write(f"{phone}\t{TEXTS.get(language, TEXTS['zh']).format(code=code)}\n")
        logger.info("code sent")

"""Structured logs: one line an event, with the conversation and message it is about, and personal data masked."""
from __future__ import annotations

import logging
import re
import sys

from crm_store.rules.personal_data import mask

FIELDS = ("conversation_id", "message_id", "reason", "duration_ms")
_BOT_TOKEN = re.compile(r"(?<![0-9])([0-9]{5,15}):[A-Za-z0-9_-]{20,}")  # Telegram's addresses have it in them
_IN_ADDRESSES = re.compile(r"((?:access_token|secret)=)[^&\s\"']+")  # WeChat's have it there
QUIET = ("telegram", "httpx", "httpcore", "uvicorn.access", "apscheduler", "sanic.access", "rasa_sdk.executor")


class MaskingFormatter(logging.Formatter):
    """Adds the structured fields and masks phone numbers, e-mails and card numbers in whatever is logged."""

    def format(self, record: logging.LogRecord) -> str:
        """The line to write."""
        line = super().format(record)
        told = " ".join(f"{name}={getattr(record, name)}" for name in FIELDS if getattr(record, name, None) is not None)
        return mask(_IN_ADDRESSES.sub(r"\1…", _BOT_TOKEN.sub(r"\1:…", f"{line} {told}" if told else line)))


def set_up_logs(level: str) -> None:
    """Send every log record to standard output through the masking formatter."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(MaskingFormatter("%(levelname)s %(name)s %(message)s"))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)

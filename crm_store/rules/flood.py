"""Decides when a sender writes faster than anybody can be answered, and what of it is read then.

Of one sender so many messages a minute are answered one by one. What comes faster is kept and held back: it is read
together as soon as the sender is quiet for a moment, and twice a minute where they never are. So a flood costs the bot
two turns a minute, and whoever floods because they are angry is still heard, by the bot and then by a person.
"""
from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime, timedelta

WINDOW = timedelta(minutes=1)
A_MINUTE = 30
QUIET = timedelta(seconds=10)  # after the last message, before what was held back is read
HELD_AT_MOST = timedelta(seconds=30)
TOLD_AGAIN_AFTER = timedelta(minutes=10)
READ_AT_ONCE = 400  # characters; what comes later in a text hardly counts for the NLU
_LOUD = re.compile(
    "人工|真人|客服|经理|主管|投诉|骗|垃圾|差评|退钱|气死|气愤|愤怒|受够|滚|"
    r"\b(?:human|person|someone|somebody|agent|manager|supervisor|complain\w*|furious|angry|scam\w*|unacceptable|"
    r"ridiculous|terrible|worst|fuck\w*|shit\w*)\b", re.IGNORECASE)


def may_flood(last_at: datetime | None, now: datetime) -> bool:
    """Whether a message can be one of a flood at all, by when the sender wrote before: most cannot."""
    return last_at is not None and now - last_at < WINDOW


def is_flood(nth_before_at: datetime | None, now: datetime) -> bool:
    """Whether a message is one too many.

    Args:
        nth_before_at: when the message came that is as many messages back as a minute may have; None where the sender
            has not written so many.
        now: when this one came.
    """
    return nth_before_at is not None and now - nth_before_at < WINDOW


def read_at(first_at: datetime, now: datetime) -> datetime:
    """When messages that are held back since ``first_at`` are read, if this one is the last of them."""
    return min(now + QUIET, first_at + HELD_AT_MOST)


def tells_again(told_at: datetime | None, now: datetime) -> bool:
    """Whether a sender is asked to slow down, or was just asked."""
    return told_at is None or now - told_at >= TOLD_AGAIN_AFTER


def read_together(texts: Sequence[str], limit: int = READ_AT_ONCE) -> str:
    """What is read of messages that were held back, oldest first, each once.

    Where some of them sound like anger or ask for a person they are read alone, for among much else the NLU would miss
    them; it decides whether they are. The newest count where there is too much. What a person reads is all of it.
    """
    distinct = list(dict.fromkeys(texts))
    wanted = [text for text in distinct if _LOUD.search(text)] or distinct
    kept: list[str] = []
    left = limit
    for text in reversed(wanted):
        left -= len(text) + 1
        if kept and left < 0:
            break
        kept.append(text)
    return "\n".join(reversed(kept))

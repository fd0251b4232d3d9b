"""A double of the Telegram Bot API on loopback, with a page that looks like a phone: bots can be tried without a token.

It knows nothing of Warmline: it speaks the HTTP that https://core.telegram.org/bots/api describes, as far as a bot for
customer service needs it, and goes wrong in the ways that Telegram does when it is told to.
"""
from __future__ import annotations

from bench.telegram_double.app import make_app
from bench.telegram_double.state import Double, Fault

__all__ = ["Double", "Fault", "make_app"]

"""Figures of the channels and the dispatcher for Prometheus."""
from __future__ import annotations

from prometheus_client import Counter, Histogram

RECEIVED = Counter("warmline_messages_received_total", "Messages of customers that were stored", ["channel"])
TURNS = Counter("warmline_turns_total", "Messages handed to the bot, by what came of them", ["outcome"])
TURN_SECONDS = Histogram("warmline_turn_seconds", "Seconds the bot took to answer",
                         buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10))
SENT = Counter("warmline_messages_sent_total", "Pieces of messages pushed to a channel, by what came of each attempt",
               ["channel", "outcome"])
DELIVERIES = Counter("warmline_notifications_total", "Notices sent beside the desk, by what came of each attempt",
                     ["adapter", "outcome"])

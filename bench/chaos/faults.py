"""What goes wrong with the calls of a bot: one in so many, each kind of error as often as the others."""
from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from bench.telegram_double import Fault

KINDS = ("429", "500", "502", "504", "timeout before", "timeout after", "reset before", "reset after", "no JSON",
         "slow")
QUICK_KINDS = tuple(kind for kind in KINDS if not kind.startswith("timeout"))
TAKEN_UNSAID = ("timeout after", "reset after", "no JSON")  # taken, and the caller cannot know it
TIMEOUT_SECONDS = 22.0  # longer than a bot waits for the answer to a message
POLL_HELD_SECONDS = 5.0  # a poll waits for 35 s; it is held for as long as this and then cut
SLOW_SECONDS = 2.0


@dataclass
class Chance:
    """Decides for each call whether it goes wrong, and how.

    Attributes:
        rate: the part of the calls that goes wrong.
        kinds: how they do.
        random: decides.
        met: what went wrong with messages, in order: the kind and the fault.
        counts: how often each kind was met, whatever the method.
        calls: how many calls there were.
    """

    rate: float
    random: random.Random
    kinds: Sequence[str] = KINDS
    met: list[tuple[str, Fault]] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    calls: int = 0

    def __call__(self, method: str) -> Fault | None:
        """What goes wrong with a call of this method."""
        self.calls += 1
        if self.random.random() >= self.rate:
            return None
        kind = self.random.choice(self.kinds)
        self.counts[kind] += 1
        fault = fault_of(kind, method)
        if method == "sendMessage":
            self.met.append((kind, fault))
        return fault

    def taken_unsaid(self) -> dict[tuple[int, int], str]:
        """The messages that were taken while the caller could not know it: chat and message id, and the kind."""
        return {(fault.result["chat"]["id"], fault.result["message_id"]): kind for kind, fault in list(self.met)
                if kind in TAKEN_UNSAID and isinstance(fault.result, dict)}


def fault_of(kind: str, method: str) -> Fault:
    """A fault of a kind."""
    if kind.startswith("timeout"):
        polling = method == "getUpdates"
        return Fault(method, 500 if kind == "timeout before" else 0, done=kind == "timeout after", cut=polling,
                     delay=POLL_HELD_SECONDS if polling else TIMEOUT_SECONDS)
    return {
        "429": Fault(method, 429, retry_after=1), "500": Fault(method, 500),
        "502": Fault(method, 502, raw=b"<html>Bad Gateway</html>"), "504": Fault(method, 504),
        "reset before": Fault(method, 500, cut=True), "reset after": Fault(method, cut=True, done=True),
        "no JSON": Fault(method, raw=b"{\"ok\": tr", done=True), "slow": Fault(method, delay=SLOW_SECONDS),
    }[kind]

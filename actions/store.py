"""What every action works with: the CRM store, the clock and the way codes reach a customer's phone."""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from actions.code_senders import CodeSender, OutboxSender
from crm_store.database import Store

OUTBOX = Path("var/outbox.log")


@dataclass(frozen=True)
class Workplace:
    """Set once, when the process starts."""

    store: Store
    clock: Callable[[], datetime]
    code_sender: CodeSender
    public_url: str = ""


_workplace: Workplace | None = None


def use(
    store: Store, clock: Callable[[], datetime], *, outbox: Path = OUTBOX, code_sender: CodeSender | None = None,
    public_url: str = "",
) -> None:
    """Tell the actions what to work with. Called by whoever starts the process, before the first action runs.

    Args:
        store: the CRM store.
        clock: gives the time now, aware, in UTC.
        outbox: the file into which the demo's sender writes one-time codes.
        code_sender: how codes are sent in a real shop, instead of into that file.
        public_url: where browsers reach the service, for links.
    """
    global _workplace
    _workplace = Workplace(store, clock, code_sender or OutboxSender(outbox), public_url)


def workplace() -> Workplace:
    """What ``use`` was told.

    Raises:
        RuntimeError: nobody called ``use``.
    """
    if _workplace is None:
        raise RuntimeError("actions.store.use(...) must be called before an action runs")
    return _workplace

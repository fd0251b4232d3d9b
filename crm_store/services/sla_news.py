"""Gathers what one look at the clocks found, moves broken tickets up, and writes all of it at the end at once."""
from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from crm_store.models import Conversation, SlaClock, SlaEvent, Ticket
from crm_store.rules.sla import LEAD_FROM_PERCENT, level_above
from crm_store.services.notices import Notice, leads_for, notify_all, team_of_level


@dataclass(frozen=True)
class SlaHappening:
    """Something a look found to have happened. ``percent`` is set on warnings; ``at`` is when it happened."""

    kind: str  # "warned", "breached", "woken"; "postponed" where a calendar could not be used
    conversation_id: int
    ticket_id: int | None
    clock_id: int | None
    promise: str | None
    percent: int | None
    at: datetime


class News:
    """What one look found. Writing it takes as many statements for a thousand clocks as for one."""

    def __init__(self, session: Session, now: datetime) -> None:
        """Begin a look at ``now``."""
        self.happened: list[SlaHappening] = []
        self.broken: dict[Conversation, list[SlaClock]] = {}
        self._session, self._now = session, now
        self._events: list[dict[str, Any]] = []
        self._resumed: dict[int, datetime] = {}
        self._notices: dict[tuple[str, int], Notice] = {}  # the last of each clock, and of each waking
        self._leads: dict[int | None, list[int]] = {}
        self._teams: dict[str, int | None] = {}

    def warned(self, conversation: Conversation, ticket: Ticket, clock: SlaClock, percent: int, at: datetime) -> None:
        """A share of a promise's time is used up: the assignee is told, from 75 % on the lead too."""
        self._happened("warned", conversation, clock, at, percent)
        told = [conversation.assignee_id or ticket.assignee_id]
        if percent >= LEAD_FROM_PERCENT or told == [None]:
            told += self._leads_for(conversation.team_id)
        self._tell(conversation, clock, told, "sla_warned", f"sla:{clock.id}:warned:{percent}", percent=percent)

    def breached(self, conversation: Conversation, ticket: Ticket, clock: SlaClock) -> None:
        """A promise is broken: its ticket moves up one level, the assignee and the leads of both levels are told."""
        self._happened("breached", conversation, clock, clock.due_at)
        self.broken.setdefault(conversation, []).append(clock)
        told = [conversation.assignee_id or ticket.assignee_id, *self._leads_for(conversation.team_id)]
        level = level_above(ticket.level)
        if level != ticket.level:
            ticket.level = level
            conversation.team_id = self._team_of(level) or conversation.team_id
            told += self._leads_for(conversation.team_id)
        conversation.updated_at = max(conversation.updated_at, self._now)
        self._tell(conversation, clock, told, "sla_breached", f"sla:{clock.id}:breached", level=level)

    def resumed(self, clock: SlaClock, at: datetime) -> None:
        """A paused clock went on."""
        self._resumed[clock.id] = at

    def woken(self, conversation: Conversation, at: datetime) -> None:
        """A conversation that was to wait until ``at`` waits no more: its owner is told."""
        self.happened.append(SlaHappening("woken", conversation.id, None, None, None, None, at))
        conversation.updated_at = max(conversation.updated_at, self._now)
        key = f"woken:{conversation.id}:{at.isoformat()}"
        self._notices[key, 0] = Notice([conversation.assignee_id], "woken", key, conversation.id)

    def postponed(self, conversation: Conversation, clock: SlaClock) -> None:
        """A clock's calendar could not be used; it is asked again later."""
        self.happened.append(SlaHappening("postponed", conversation.id, clock.ticket_id, clock.id, clock.promise, None,
                                          self._now))

    def write(self) -> list[SlaHappening]:
        """Store the events and the notifications; what happened, oldest first."""
        self._count_resumed()
        if self._events:
            self._session.execute(sa.insert(SlaEvent.__table__),
                                  sorted(self._events, key=lambda event: event["occurred_at"]))
        notify_all(self._session, self._notices.values(), now=self._now)
        self._session.flush()
        return sorted(self.happened, key=lambda happening: happening.at)

    def _count_resumed(self) -> None:
        """Number the goings-on of each clock after those it had before."""
        if not self._resumed:
            return
        before = dict(self._session.execute(
            sa.select(SlaEvent.clock_id, sa.func.count()).where(
                SlaEvent.clock_id.in_(self._resumed), SlaEvent.kind == "resumed").group_by(SlaEvent.clock_id)).all())
        self._events += [{"clock_id": clock_id, "kind": "resumed", "occurrence": before.get(clock_id, 0) + 1,
                          "occurred_at": at} for clock_id, at in self._resumed.items()]

    def _happened(self, kind: str, conversation: Conversation, clock: SlaClock, at: datetime,
                  percent: int | None = None) -> None:
        self._events.append({"clock_id": clock.id, "kind": kind, "occurrence": percent or 0, "occurred_at": at})
        self.happened.append(SlaHappening(kind, conversation.id, clock.ticket_id, clock.id, clock.promise, percent, at))

    def _tell(self, conversation: Conversation, clock: SlaClock, told: list[int | None], kind: str, key: str,
              **more: object) -> None:
        data = {"ticket_id": clock.ticket_id, "promise": clock.promise, "due_at": clock.due_at.isoformat(), **more}
        self._notices["clock", clock.id] = Notice(told, kind, key, conversation.id, data)

    def _leads_for(self, team_id: int | None) -> list[int]:
        if team_id not in self._leads:
            self._leads[team_id] = leads_for(self._session, team_id)
        return self._leads[team_id]

    def _team_of(self, level: str) -> int | None:
        if level not in self._teams:
            self._teams[level] = team_of_level(self._session, level)
        return self._teams[level]

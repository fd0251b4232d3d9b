"""What the bot failed at: messages it did not understand, was unsure of, asked back about, or was corrected on."""
from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy import select
from sqlalchemy.orm import Session, aliased

from crm_store.models import Conversation, Correction, Escalation, Message
from crm_store.queries.figures import BEFORE, Read, Scope, changed_since, conversations_in, in_period

OUT_OF_SCOPE = "out_of_scope"
ASKED_BACK = '{\\"about\\"'  # how the payload of a question's buttons stands in the JSON of the message


@dataclass(frozen=True)
class Failure:
    """What went wrong with an intent; None is a message in which the bot read nothing.

    Attributes:
        intent: what the bot read.
        messages: typed messages read so, all of them.
        not_understood: all of them where the intent is none of the shop's business or nothing was read.
        unsure: read with a confidence below ``LOW_CONFIDENCE``.
        asked_back: answered by asking which of two was meant.
        corrected: an agent said that it was another intent.
        stuck: the conversation went to a person at this message because the bot was stuck.
    """

    intent: str | None
    messages: int = 0
    not_understood: int = 0
    unsure: int = 0
    asked_back: int = 0
    corrected: int = 0
    stuck: int = 0

    @property
    def failures(self) -> int:
        """All that went wrong; a message may count more than once."""
        return self.not_understood + self.unsure + self.asked_back + self.corrected + self.stuck


def failures(session: Session, scope: Scope, read: Iterable[Read]) -> list[Failure]:
    """The intents with which anything went wrong in the period, the worst first; ``read`` is what was read in it."""
    found: dict[str | None, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for each in read:
        if each.bucket != BEFORE:
            found[each.intent]["messages"] += each.messages
            lost = each.intent in (None, OUT_OF_SCOPE)
            found[each.intent]["not_understood" if lost else "unsure"] += each.messages if lost else each.unsure
    for name, rows in (("asked_back", _asked_back(session, scope)), ("corrected", _corrected(session, scope)),
                       ("stuck", _stuck(session, scope))):
        for row in rows:
            found[row.intent][name] += row.count
    wrong = [failure for intent, about in found.items() if (failure := Failure(intent, **about)).failures]
    return sorted(wrong, key=lambda failure: (-failure.failures, failure.intent or ""))


def _asked_back(session: Session, scope: Scope) -> Any:
    asked = aliased(Message)
    return session.execute(
        select(asked.intent, sa.func.count(asked.id.distinct()).label("count")).select_from(Conversation)
        .join(Message, Message.conversation_id == Conversation.id).join(asked, asked.id == Message.in_reply_to_id)
        .where(changed_since(scope.period.since), Message.author == "bot", in_period(Message.created_at, scope.period),
               sa.cast(Message.buttons, sa.Text).contains(ASKED_BACK, autoescape=True), *conversations_in(scope))
        .group_by(asked.intent)).all()


def _corrected(session: Session, scope: Scope) -> Any:
    wrong = select(Correction.message_id).where(
        Correction.field == "intent", sa.or_(Correction.was.is_(None), Correction.value != Correction.was),
        in_period(Correction.corrected_at, scope.period))
    return session.execute(
        select(Message.intent, sa.func.count().label("count"))
        .join(Conversation, Conversation.id == Message.conversation_id)
        .where(Message.id.in_(wrong), *conversations_in(scope)).group_by(Message.intent)).all()


def _stuck(session: Session, scope: Scope) -> Any:
    return session.execute(
        select(Message.intent, sa.func.count().label("count")).select_from(Escalation)
        .join(Message, Message.id == Escalation.message_id)
        .join(Conversation, Conversation.id == Escalation.conversation_id)
        .where(Escalation.reason == "stuck", in_period(Escalation.decided_at, scope.period), *conversations_in(scope))
        .group_by(Message.intent)).all()
